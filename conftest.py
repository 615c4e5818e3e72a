"""The fixtures of all tests: those of the package and those of projects."""
pytest_plugins = ['clip_fixtures', 'network_fixtures', 'tool_fixtures']
