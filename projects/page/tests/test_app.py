"""The web page of projects/page/app.py, with the published network."""
import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from ports import get_free_port

from selfy_mmaction.apis.video import Video, write_video

BROWSER = os.environ.get('CHROMIUM') or next(
    filter(None, map(shutil.which, ['chromium', 'google-chrome', 'chrome'])),
    None)


@pytest.fixture(scope='module')
def address(repo, tool_env, tmp_path_factory):
    """Start the page as a user does, and return where it is."""
    folder = tmp_path_factory.mktemp('app')
    log = folder / 'log.txt'
    port = str(get_free_port())
    with open(log, 'w') as file:
        process = subprocess.Popen(
            [sys.executable, repo / 'projects/page/app.py', '--port', port],
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={
                **tool_env, 'PYTHONUNBUFFERED': '1',
                'GRADIO_TEMP_DIR': str(folder)
            })
    try:
        deadline = time.monotonic() + 180
        while not (found := re.search(r'http://\S+', log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield found[0]
    finally:
        process.terminate()
        process.wait()
    # not gradio's invitation to create a public link, nor a traceback
    line, = log.read_text().splitlines()
    assert line == f'The page is at {found[0]} (Ctrl-C ends it)'


@pytest.fixture(scope='module')
def notes(tmp_path_factory):
    """A text file with the name of a video."""
    path = tmp_path_factory.mktemp('notes') / 'notes.mp4'
    path.write_text('Not a video.\n')
    return path


def test_answers_and_says_what_is_wrong(address, pan, notes):
    assert urlsplit(address).hostname == '127.0.0.1'
    client = Client(address, verbose=False, analytics_enabled=False)
    # Each step has what is new.
    steps = [[
        value for value in step if value and value != {
            '__type__': 'update'
        }
    ] for step in client.submit(handle_file(pan), api_name='/look')]
    asked, (clip, ), (label, frames), (picture, ) = steps[1:]
    assert asked[0]['label'] == 'Asking the network'
    assert Path(clip).suffix == '.webm'
    assert label['label'] == 'camera pans right'
    # Bars of 0 % are left out.
    shares = [bar['confidence'] for bar in label['confidences']]
    assert 1 < len(shares) < 5 and min(shares) >= 0.005
    for path in frames, picture:
        with Image.open(path) as sheet:
            assert min(sheet.size) > 500
    step = client.predict(handle_file(notes), api_name='/look')
    assert 'notes.mp4 is not a video, or is damaged: it begins' in str(step[2])


@pytest.mark.parametrize('headers, status', [
    ({}, 200),
    (dict(Host='LocalHost:{port}', Origin='http://LocalHost:{port}'), 200),
    (dict(Host='elsewhere.example:{port}'), 400),
    (dict(Origin='http://elsewhere.example'), 403),
    (dict(Origin='http://127.0.0.1:1'), 403),
    (dict(Origin='null'), 403),
])
def test_serves_no_other_site(address, headers, status):
    port = urlsplit(address).port
    headers = {key: text.format(port=port) for key, text in headers.items()}
    upload = (b'--x\r\nContent-Disposition: form-data; name="files"; '
              b'filename="a.mp4"\r\n\r\n0\r\n--x--\r\n')
    form = {'Content-Type': 'multipart/form-data; boundary=x'}
    page = http.client.HTTPConnection('127.0.0.1', port)
    for method, path, body in (('GET', '/', None), ('GET', '/config', None),
                               ('POST', '/gradio_api/upload', upload)):
        page.request(method, path, body, headers | (form if body else {}))
        answer = page.getresponse()
        answer.read()
        assert answer.status == status, path
    page.close()


def test_uploads_are_bounded(address, tmp_path):
    path = tmp_path / 'large.mp4'
    with open(path, 'wb') as file:
        file.truncate(105_000_000)
    client = Client(address, verbose=False, analytics_enabled=False)
    with pytest.raises(Exception, match='size'):
        client.predict(handle_file(path), api_name='/look')


@pytest.fixture(scope='module')
def browser():
    # .ci/run sets the variable where it brought a browser.
    if not BROWSER and 'REQUIRE_BROWSER' not in os.environ:
        pytest.skip('no chromium or google-chrome on PATH or in CHROMIUM')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            args=[
                '--no-sandbox', '--disable-gpu', '--no-first-run',
                '--disable-background-networking',
                '--disable-component-update', '--disable-sync'
            ])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address, tmp_path):
    """Open the page in a window of a size, and look at it at the end."""
    pages, hosts = [], set()

    def visit(width, height):
        page = browser.new_page(viewport=dict(width=width, height=height))
        page.set_default_timeout(60_000)
        page.on('request',
                lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(address)
        expect(page.get_by_role('heading', name='SELFY')).to_be_visible()
        pages.append((page, width))
        return page

    yield visit
    for page, width in pages:
        path = tmp_path / f'{width}.png'
        page.screenshot(path=path, full_page=True)
        # Nothing has to be scrolled to from the side.
        with Image.open(path) as screenshot:
            assert screenshot.width == width
        assert page.evaluate('document.documentElement.scrollWidth') == width
        page.close()
    # Nothing is sent to other servers.
    assert hosts - {None} == {'127.0.0.1'}


def wait_for_picture(page, other_than=''):
    """Wait until the last picture is another one, and return its size."""
    picture = page.locator('.picture img')
    expect(picture).to_be_attached(timeout=60_000)
    # It is loaded when it is seen.
    page.locator('.picture').scroll_into_view_if_needed()
    expect(picture).not_to_have_attribute('src', other_than, timeout=60_000)
    page.wait_for_function(
        'image => image.naturalWidth', arg=picture.element_handle())
    return picture.evaluate(
        'image => [image.src, image.clientWidth, image.clientHeight]')


def give(page, path):
    page.locator('input[type=file]').first.set_input_files(path)


def get_answer(page):
    return page.get_by_test_id('label-output-value')


def click(page, x, y):
    """Click on the frames, at a place between 0 and 1."""
    frames = page.locator('.frames img')
    box = frames.bounding_box()
    frames.click(position=dict(x=x * box['width'], y=y * box['height']))


def test_a_click_compares_a_place(visit):
    page = visit(1280, 900)
    for question in 'What is this?', 'What can it not do?':
        expect(page.get_by_role('heading', name=question)).to_be_visible()
    for limit in 'nothing but synthetic motions', 'does not measure motion':
        expect(page.locator('body')).to_contain_text(limit)
    # an example
    page.locator('.gallery-item').first.click()
    expect(get_answer(page)).to_have_text('camera pans right', timeout=60_000)
    before, width, _ = wait_for_picture(page)
    frames = page.locator('.frames img')
    shown, box = frames.get_attribute('src'), frames.bounding_box()
    # side by side
    picture = page.locator('.picture img').bounding_box()
    assert width > 600 and picture['x'] >= box['x'] + box['width']
    assert abs(picture['y'] - box['y']) < 20
    # Eight frames in three rows leave a cell, where nothing happens.
    click(page, 0.85, 0.85)
    click(page, 0.5, 0.2)
    after, *_ = wait_for_picture(page, other_than=before)
    assert frames.get_attribute('src') != shown
    # A reload keeps the clip, and looks at it as at first.
    page.reload()
    wait_for_picture(page, other_than=after)
    expect(page.get_by_text('camera_pans_right')).to_be_visible()


def test_a_phone_plays_any_clip(visit, video_dir, notes):
    """The clip is MPEG-4 Part 2, which browsers do not play."""
    page = visit(390, 844)
    give(page, notes)
    problem = page.get_by_label('What is wrong')
    expect(problem).to_have_value(
        re.compile('notes.mp4 is not a video, or is damaged: it begins'),
        timeout=60_000)
    page.get_by_label('Clear').first.click()
    give(page, video_dir / 'left0.mp4')
    _, width, height = wait_for_picture(page)
    expect(problem).to_have_count(0)
    assert width > 300 and height > 3 * width
    expect(page.get_by_text('not playable')).to_have_count(0)
    page.wait_for_function(
        'video => video.readyState >= 2 && video.videoWidth == 132',
        arg=page.locator('.player video').element_handle())
    # a strip of frames, and the picture directly below
    frames = page.locator('.frames').bounding_box()
    gap = page.locator('.picture').bounding_box()['y'] - frames['y']
    assert 200 < frames['height'] < gap < frames['height'] + 30


def test_of_a_long_clip_the_moving_part_is_shown(visit, pan, tmp_path):
    frames = list(Video(pan))  # two seconds
    still = frames[:1] * 48
    write_video(tmp_path / 'long.mp4', [*still, *frames, *still], 12)
    page = visit(390, 844)
    give(page, tmp_path / 'long.mp4')
    timeline = page.locator('.timeline img')
    expect(timeline).to_be_visible(timeout=60_000)
    assert timeline.bounding_box()['width'] > 300
    picture, *_ = wait_for_picture(page)
    start = page.locator('.start input[type=range]')
    assert float(start.input_value()) in (4, 4.5, 5)
    box = start.bounding_box()
    start.click(position=dict(x=2, y=box['height'] / 2))
    wait_for_picture(page, other_than=picture)


def test_a_new_clip_ends_what_is_done_for_the_old(visit, pan, tmp_path):
    frames = list(Video(pan))
    write_video(tmp_path / 'longer.mp4', 100 * frames, 12)
    page = visit(1280, 900)
    give(page, tmp_path / 'longer.mp4')
    expect(get_answer(page)).to_have_text(
        re.compile(r'second \d of 200'), timeout=60_000)
    page.locator('.gallery-item').nth(1).click()
    expect(get_answer(page)).to_have_text('camera tilts down', timeout=60_000)
    wait_for_picture(page)
    # It would go on counting to 200, and draw a timeline.
    expect(get_answer(page)).to_have_text('camera tilts down')
    expect(page.locator('.timeline img')).to_have_count(0)


def test_names_what_is_wrong(run_tool, address):
    port = urlsplit(address).port
    error = run_tool('projects/page/app', '--port', port, '--device', 'cpu')
    assert f'cannot be served at port {port}: is it taken?' in error
    error = run_tool('projects/page/app', 'config.py')
    assert 'config.py is given without a checkpoint' in error
    error = run_tool('projects/page/app', '--port', '0')
    assert '--port 0: give a number from 1 to 65535' in error
