"""Atomic writes, and paths inside a folder."""

import errno
import io
import os
import resource
import zipfile

import pytest

from selfy_mmaction import files


def write(path, *parts):
    with files.replaced_when_done(path) as unfinished:
        with open(unfinished, 'w') as file:
            for part in parts:
                if isinstance(part, BaseException):
                    raise part
                file.write(part)


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / 'new' / 'list.txt'
    write(path, 'one')
    write(str(path), 'two')
    assert path.read_text() == 'two'
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    'error',
    [
        OSError(errno.ENOSPC, 'No space left on device'),
        UnicodeError(),
        KeyboardInterrupt(),
    ],
)
def test_what_was_there_stays(tmp_path, error):
    path = tmp_path / 'list.txt'
    write(path, 'one')
    with pytest.raises(type(error)):
        write(path, 'two', error)
    assert path.read_text() == 'one'
    assert [*tmp_path.iterdir()] == [path]


def test_a_full_disk_is_named(tmp_path):
    path = tmp_path / 'list.txt'
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf'^could not write {path}: File t'):
            files.write_text(path, 10_000 * '-')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [*tmp_path.iterdir()]


def test_an_error_of_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError, match="directory: 'no.mp4'"):
        with files.replaced_when_done(tmp_path / 'out.mp4'):
            open('no.mp4')


def test_names_are_printable():
    assert files.printable('übung 1.mp4') == 'übung 1.mp4'
    assert files.printable('a\x1b[2J\n\t\x85\u202e\udcff') == (
        r'a\x1b[2J\n\t\x85\u202e\udcff')


def test_writers_do_not_meet(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    with files.replaced_when_done(path) as first:
        first.write_text('one')
        with files.replaced_when_done(path) as second:
            second.write_text('two')
            assert first != second
        assert path.read_text() == 'two'
    assert path.read_text() == 'one'


def test_what_a_kill_left_is_removed_by_the_next_writer(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    left, fresh = (
        tmp_path / f'.epoch_1.{x}.pth' for x in ('0a' * 4, 'b1' * 4))
    for file in left, fresh:
        file.write_text('half')
    os.utime(left, (0, 0))
    write(path, 'whole')
    assert {*tmp_path.iterdir()} == {path, fresh}


def test_permissions_stay(tmp_path):
    path, new = tmp_path / 'list.txt', tmp_path / 'new.txt'
    path.touch()
    path.chmod(0o664)
    before = os.umask(0o077)
    try:
        write(path, 'one')
        write(new, 'one')
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o664
    assert new.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize('stem', [251 * 'x', 125 * '\u00fc'])
def test_a_long_name(stem, tmp_path):
    path = tmp_path / f'{stem}.txt'
    write(path, 'one')
    assert [*tmp_path.iterdir()] == [path]


def test_links_and_devices_stay_what_they_are(tmp_path):
    target, link = tmp_path / 'target.txt', tmp_path / 'link.txt'
    target.write_text('one')
    link.symlink_to(target)
    write(link, 'two')
    assert link.is_symlink() and target.read_text() == 'two'
    write(os.devnull, 'three')
    assert not os.path.isfile(os.devnull)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match='is a folder: give the name of a'):
        write(tmp_path, 'one')


@pytest.mark.parametrize(
    ('name', 'inside'),
    [
        ('a.mp4', True),
        ('a/../b.mp4', True),
        ('a..b/c.mp4', True),
        ('../a.mp4', False),
        ('a/../../b.mp4', False),
        ('/etc/passwd', False),
        ('..\\a.mp4', False),
    ],
)
def test_paths_that_leave_a_folder(name, inside, tmp_path):
    assert files.is_inside(name, tmp_path / 'data') == inside
    assert files.is_inside(name, 'data') == inside


def test_archives_that_are_larger_than_their_file(tmp_path):
    """By the directory that zipfile reads, or by the one of other readers."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w', zipfile.ZIP_DEFLATED) as file:
        file.writestr('x', bytes(10**6))
    path = tmp_path / 'x.zip'
    path.write_bytes(content.getvalue())
    with pytest.raises(ValueError, match='^it is compressed$'):
        files.check_archive_size(path)
    content = content.getvalue()
    start, end = content.index(b'PK\1\2'), content.index(b'PK\5\6')
    directory = content[start:end].replace((10**6).to_bytes(4, 'little'),
                                           (9).to_bytes(4, 'little'))
    path.write_bytes(content[:end] + directory + content[end:])
    with pytest.raises(ValueError, match='^it has two parts$'):
        files.check_archive_size(path)
