"""Text that one YAML reader or another takes for something else, or that a grammar trips over."""

NASTY_TEXT = [
    *["1e3", "1E-3", "-1e3", "1e+3", ".5", "1.", "1_000", "0x1F", "0b1", "0o17", "007", "012", "08", "-0", "+1"],
    *["no", "No", "NO", "yes", "on", "off", "y", "n", "true", "True", "false", "Null", "NULL", "~", "None", ".nan"],
    *["nan", "inf", "-inf", ".inf", "infinity", "2024", "2024-01-02", "2024-01-02 03:04:05", "12:30:45", "1:20"],
    *["/my photos/a=b,c (1)", "~/x", "C:\\Users\\me\\new", "\\\\server\\share", "trailing\\", "trailing\\\\"],
    *["${seed}", "${", "a${b", "\\${seed}", "\\\\${seed}", "${oc.env:HOME}", "$HOME", "{", "}", "{a: 1}", "[a, b]"],
    *["[", "]", "a,b", "'", "''", '"', '""', "'quoted'", '"quoted"', "it's", 'say "hi"', "\\'", "`", "back`tick"],
    *["a: b", "a:", ":a", "a #b", "#a", "- a", "-", "--", "---", "...", "? a", "!tag", "!!int 3", "&a", "*a", "<<"],
    *["|", ">", "%a", "@a", "=", "==", "a=b", " leading", "trailing ", "two  spaces", "tab\there", "line\nbreak"],
    *["two\n\nbreaks\n", "\r", "a\r\nb", "\x00", "\x1b[31m", "\x7f", "\x85", "\u2028", "\ufeff", "\u00a0", "é", "é"],
    *["日本語", "🐈", "\U0010ffff", "a" * 300, "word " * 60 + "end", "range(1,3)", "choice(a,b)", "int(3)", "val/top1"],
]
