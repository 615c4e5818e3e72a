"""The fixtures of all tests: those of the package and those of projects."""
pytest_plugins = [
    'clip_fixtures', 'device_fixture', 'network_fixtures', 'tool_fixtures'
]
