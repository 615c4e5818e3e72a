"""The web page of tools/app.py, with the published network."""
import http.client
import os
import re
import shutil
import subprocess
import sys
import time
from urllib.parse import urlsplit

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import expect, sync_playwright
from ports import get_free_port

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
            [sys.executable, repo / 'tools/app.py', '--port', port],
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


@pytest.fixture(scope='module')
def notes(tmp_path_factory):
    """A text file with the name of a video."""
    path = tmp_path_factory.mktemp('notes') / 'notes.mp4'
    path.write_text('Not a video.\n')
    return path


def test_answers_and_refuses(address, repo, notes):
    assert urlsplit(address).hostname == '127.0.0.1'
    client = Client(address, verbose=False, analytics_enabled=False)
    clip = repo / 'demo/camera_pans_right.webm'
    label, picture = client.predict(handle_file(clip), api_name='/look')
    assert label['label'] == 'camera pans right'
    assert len(label['confidences']) == 5
    with Image.open(picture) as sheet:
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


def test_uploads_are_bounded(address, tmp_path):
    path = tmp_path / 'large.mp4'
    with open(path, 'wb') as file:
        file.truncate(105_000_000)
    client = Client(address, verbose=False, analytics_enabled=False)
    with pytest.raises(Exception, match='size'):
        client.predict(handle_file(path), api_name='/look')


# .ci/run sets the variable where it brought a browser.
@pytest.mark.skipif(
    not BROWSER and 'REQUIRE_BROWSER' not in os.environ,
    reason='no chromium or google-chrome on PATH or in CHROMIUM')
def test_page_in_a_browser(address, notes):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER,
            args=[
                '--no-sandbox', '--disable-gpu', '--no-first-run',
                '--disable-background-networking',
                '--disable-component-update', '--disable-sync'
            ])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        hosts = set()
        page.on('request',
                lambda request: hosts.add(urlsplit(request.url).hostname))
        page.goto(address)
        expect(page.get_by_role('heading')).to_contain_text('SELFY')
        # an example
        page.locator('.gallery-item').first.click()
        wait = dict(timeout=60_000)
        expect(page.get_by_test_id('label-output-value')).to_have_text(
            'camera pans right', **wait)
        picture = page.locator('img[src*="image.png"]')
        expect(picture).to_be_visible(**wait)
        assert picture.evaluate('image => image.naturalWidth') > 500
        # a bad upload
        page.reload()
        page.locator('input[type=file]').first.set_input_files(notes)
        expect(page.get_by_text(
            'notes.mp4 is not a video: it begins')).to_be_visible(**wait)
        browser.close()
    # Nothing is sent to other servers.
    assert hosts - {None} == {'127.0.0.1'}


def test_names_what_is_wrong(run_tool, address):
    port = urlsplit(address).port
    error = run_tool('app', '--port', port, '--device', 'cpu')
    assert f'cannot be served at port {port}: is it taken?' in error
    error = run_tool('app', 'config.py')
    assert 'config.py is given without a checkpoint' in error
    error = run_tool('app', '--port', '0')
    assert '--port 0: give a number from 1 to 65535' in error
