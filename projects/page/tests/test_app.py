"""The web page of projects/page/app.py, with the published network."""
import asyncio
import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from local_page import OwnPage
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


async def list_progress(job):
    """The progress of a job, as the page has shown it."""
    return [
        unit async for update in job if update.type == 'status'
        for unit in update.progress_data or []
    ]


def test_answers_and_refuses(address, pan, notes):
    assert urlsplit(address).hostname == '127.0.0.1'
    client = Client(address, verbose=False, analytics_enabled=False)
    job = client.submit(handle_file(pan), api_name='/look')
    *_, answered, drawn = job
    # What the page shows while it computes.
    progress = asyncio.run(list_progress(job))
    assert list(dict.fromkeys(unit.desc for unit in progress)) == [
        'Asking the network', 'Watching the clip', 'Drawing'
    ]
    watched = [unit for unit in progress if unit.unit == 'frames']
    assert watched[-1].index > 0
    assert watched[-1].length == Video(pan).total_frames
    # The answer is there before the picture.
    assert answered[:-1] == drawn[:-1] and answered[-1] is None
    player, label, _, frames, picture = drawn
    assert Path(player).suffix == '.webm'
    assert label['label'] == 'camera pans right'
    assert len(label['confidences']) == 5
    for path in frames, picture:
        with Image.open(path) as sheet:
            assert min(sheet.size) > 500
    with pytest.raises(AppError, match='notes.mp4 is not a video: it begins'):
        client.predict(handle_file(notes), api_name='/look')


@pytest.mark.parametrize('headers, status', [
    ({}, 200),
    ({
        'Host': 'localhost:{port}',
        'Origin': 'http://localhost:{port}'
    }, 200),
    ({
        'Host': 'elsewhere.example:{port}'
    }, 403),
    ({
        'Host': '127.0.0.1:1'
    }, 403),
    ({
        'Origin': 'http://elsewhere.example'
    }, 403),
    ({
        'Origin': 'null'
    }, 403),
])
def test_serves_no_other_site(address, headers, status):
    port = urlsplit(address).port
    page = http.client.HTTPConnection('127.0.0.1', port)
    headers = {key: text.format(port=port) for key, text in headers.items()}
    for path in '/', '/config', '/gradio_api/info':
        page.request('GET', path, headers=headers)
        answer = page.getresponse()
        answer.read()
        assert answer.status == status
    page.close()


@pytest.mark.parametrize('port, host, status', [
    (80, b'127.0.0.1', 200),
    (80, b'localhost', 200),
    (80, b'localhost:80', 200),
    (80, b'elsewhere.example', 403),
    (7860, b'LocalHost:7860', 200),
    (7860, b'localhost', 403),
])
def test_browsers_leave_out_port_80(port, host, status):
    sent = []

    async def page(scope, receive, send):
        await send(dict(type='http.response.start', status=200))

    async def send(message):
        sent.append(message)

    headers = [(b'host', host)]
    if status == 200:
        headers.append((b'origin', b'http://' + host.lower()))
    asyncio.run(
        OwnPage(page, port)(dict(type='http', headers=headers), None, send))
    assert sent[0]['status'] == status


def test_uploads_are_deleted_after_a_day(load_tool):
    predictor = SimpleNamespace(model_file='x.pth', classes=['a', 'b'])
    page = load_tool('projects/page/app').build_page(predictor, predictor)
    every, age = page.delete_cache
    assert every < age == 24 * 60 * 60


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


def test_a_click_compares_a_place(visit):
    page = visit(1280, 900)
    for question in 'What is this?', 'What can it not do?':
        expect(page.get_by_role('heading', name=question)).to_be_visible()
    for limit in 'nothing but synthetic motions', 'does not measure motion':
        expect(page.locator('body')).to_contain_text(limit)
    # an example
    page.locator('.gallery-item').first.click()
    expect(page.get_by_test_id('label-output-value')).to_have_text(
        'camera pans right', timeout=60_000)
    before, width, _ = wait_for_picture(page)
    assert width > 1000
    expect(page.get_by_role('heading', name='the colours')).to_be_visible()
    frames = page.locator('.frames img')
    shown = frames.get_attribute('src')
    box = frames.bounding_box()
    frames.click(position=dict(x=0.5 * box['width'], y=0.3 * box['height']))
    wait_for_picture(page, other_than=before)
    assert frames.get_attribute('src') != shown


def test_a_bad_upload_is_named(visit, notes):
    page = visit(390, 844)
    page.locator('input[type=file]').first.set_input_files(notes)
    expect(
        page.get_by_text('notes.mp4 is not a video: it begins')).to_be_visible(
            timeout=60_000)


def test_a_phone_plays_any_clip(visit, video_dir):
    """The clip is MPEG-4 Part 2, which browsers do not play."""
    page = visit(390, 844)
    page.locator('input[type=file]').first.set_input_files(video_dir /
                                                           'left0.mp4')
    _, width, height = wait_for_picture(page)
    assert width > 300 and height > 3 * width
    expect(page.get_by_text('not playable')).to_have_count(0)
    player = page.locator('.player video')
    page.wait_for_function(
        'video => video.readyState >= 2 && video.videoWidth == 132',
        arg=player.element_handle())
    frames = page.locator('.frames img').bounding_box()
    assert frames['width'] > 300


def test_a_long_clip_gets_a_timeline(visit, pan, tmp_path):
    frames = list(Video(pan))
    path = tmp_path / 'long.mp4'
    write_video(path, 4 * frames, 12)  # 8 seconds
    page = visit(390, 844)
    page.locator('input[type=file]').first.set_input_files(path)
    timeline = page.locator('.timeline img')
    expect(timeline).to_be_visible(timeout=60_000)
    assert timeline.bounding_box()['width'] > 300
    expect(page.get_by_test_id('label-output-value')).to_have_count(0)
    expect(page.locator('.picture img')).to_have_count(0)


def test_names_what_is_wrong(run_tool, address):
    port = urlsplit(address).port
    error = run_tool('projects/page/app', '--port', port, '--device', 'cpu')
    assert f'cannot be served at port {port}: is it taken?' in error
    error = run_tool('projects/page/app', 'config.py')
    assert 'config.py is given without a checkpoint' in error
    error = run_tool('projects/page/app', '--port', '0')
    assert '--port 0: give a number from 1 to 65535' in error
