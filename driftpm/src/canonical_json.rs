//! The two JSON encodings of Drift's files, byte for byte.
//!
//! [`canonical`]: UTF-8, no newline at the end: manifests, indexes, locks.
//! [`ascii_compact`]: everything outside `0x20..=0x7e` escaped, one newline at the end:
//! sidecars, trust stores, all `--json` output. Both sort keys by code point and write no
//! spaces. Numbers are spelt as Python spells them, since the original's files are Python's.

use std::fmt::Write as _;

use serde_json::Number;

use crate::json::{Object, Value};

#[derive(Clone, Copy)]
struct Style {
    ascii: bool,
    indent: Option<usize>,
    /// Members in the order of the file they were read from, else sorted.
    as_read: bool,
}

/// UTF-8, sorted, without spaces and without a newline.
#[must_use]
pub fn canonical(value: &Value) -> String {
    render(value, Style { ascii: false, indent: None, as_read: false })
}

/// ASCII, sorted, without spaces, with one newline at the end.
#[must_use]
pub fn ascii_compact(value: &Value) -> String {
    render(value, Style { ascii: true, indent: None, as_read: false }) + "\n"
}

/// ASCII, sorted, indented by two spaces, with one newline at the end: for people.
#[must_use]
pub fn ascii_indented(value: &Value) -> String {
    render(value, Style { ascii: true, indent: Some(0), as_read: false }) + "\n"
}

/// UTF-8, sorted, indented by two spaces, with one newline at the end: for people who compare two
/// of them.
#[must_use]
pub fn indented(value: &Value) -> String {
    render(value, Style { ascii: false, indent: Some(0), as_read: false }) + "\n"
}

/// UTF-8, indented by two spaces, members in the order in which they were read or inserted: files
/// that people write by hand stay as they know them.
#[must_use]
pub fn indented_as_read(value: &Value) -> String {
    render(value, Style { ascii: false, indent: Some(0), as_read: true }) + "\n"
}

fn render(value: &Value, style: Style) -> String {
    let mut out = String::new();
    write_value(&mut out, value, style);
    out
}

/// Recursion ends where [`parse`](crate::json::parse) ends it: at 128 levels.
fn write_value(out: &mut String, value: &Value, style: Style) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_string(out, text, style.ascii),
        Value::Array(items) => write_array(out, items, style),
        Value::Object(object) => write_object(out, object, style),
    }
}

fn write_array(out: &mut String, items: &[Value], style: Style) {
    let inner = deeper(style);
    out.push('[');
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        new_line(out, inner);
        write_value(out, item, inner);
    }
    if !items.is_empty() {
        new_line(out, style);
    }
    out.push(']');
}

fn write_object(out: &mut String, object: &Object, style: Style) {
    let inner = deeper(style);
    out.push('{');
    let members = if style.as_read { object.in_file_order() } else { object.iter().collect() };
    for (position, (key, value)) in members.into_iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        new_line(out, inner);
        write_string(out, key, style.ascii);
        out.push_str(if style.indent.is_some() { ": " } else { ":" });
        write_value(out, value, inner);
    }
    if !object.is_empty() {
        new_line(out, style);
    }
    out.push('}');
}

fn deeper(style: Style) -> Style {
    Style { indent: style.indent.map(|depth| depth.saturating_add(1)), ..style }
}

fn new_line(out: &mut String, style: Style) {
    if let Some(depth) = style.indent {
        out.push('\n');
        for _ in 0..depth {
            out.push_str("  ");
        }
    }
}

fn write_string(out: &mut String, text: &str, ascii: bool) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ if ascii || character < ' ' => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a string cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn write_number(out: &mut String, number: &Number) {
    if number.is_f64()
        && let Some(value) = number.as_f64()
    {
        // Rust and Python switch to an exponent at the same magnitudes; only its spelling
        // differs: `1e16` and `1e+16`, `1e-7` and `1e-07`.
        let text = format!("{value:?}");
        match text.split_once('e') {
            None => out.push_str(&text),
            Some((digits, exponent)) => {
                let (sign, exponent) =
                    exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
                let _ = write!(out, "{digits}e{sign}{exponent:0>2}");
            }
        }
    } else {
        let _ = write!(out, "{number}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Limit, parse};

    #[test]
    fn writes_both_encodings() {
        for (input, utf8, ascii) in [
            ("{}", "{}", "{}\n"),
            ("{\"b\":[1, {\"z\":null}],\"a\":true}", "{\"a\":true,\"b\":[1,{\"z\":null}]}", ""),
            (
                "\"\\u007f\\u0001/\\u2028é😀\"",
                "\"\u{7f}\\u0001/\u{2028}é😀\"",
                "\"\\u007f\\u0001/\\u2028\\u00e9\\ud83d\\ude00\"\n",
            ),
            ("\"\\b\\f\\n\\r\\t\\\"\\\\\"", "\"\\b\\f\\n\\r\\t\\\"\\\\\"", ""),
            (
                "[1.0,0.1,1e16,1e-7,-0.0,15e20,1e-4]",
                "[1.0,0.1,1e+16,1e-07,-0.0,1.5e+21,0.0001]",
                "",
            ),
            // One more digit than a double has: read and written to the nearest one, and again.
            ("555555555555555555555555555555555555555555", "5.555555555555556e+41", ""),
            ("5.555555555555556e+41", "5.555555555555556e+41", ""),
            ("[9223372036854775808,-1]", "[9223372036854775808,-1]", ""),
            ("{\"\u{ffff}\":1,\"😀\":2,\"Z\":3}", "{\"Z\":3,\"\u{ffff}\":1,\"😀\":2}", ""),
        ] {
            let value = parse(input.as_bytes(), Limit::SETTINGS).unwrap();
            assert_eq!(canonical(&value), utf8, "{input}");
            if !ascii.is_empty() {
                assert_eq!(ascii_compact(&value), ascii, "{input}");
            }
        }
    }

    #[test]
    fn indents_for_people() {
        let value = parse(b"{\"b\":{},\"a\":[1]}", Limit::SETTINGS).unwrap();
        assert_eq!(ascii_indented(&value), "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}\n");
        assert_eq!(indented_as_read(&value), "{\n  \"b\": {},\n  \"a\": [\n    1\n  ]\n}\n");
    }
}
