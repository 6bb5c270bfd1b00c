"""The sections of a configuration: settings with their types, ranges, defaults and meanings. No code that uses them."""
