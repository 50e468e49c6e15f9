//! Compiled modules: out of the compiler's container, into the form a registry keeps.
//!
//! The compiler writes `LLMB`, a 16-bit version (1), a 32-bit payload length, both little
//! endian, and the module as one line of JSON. A registry keeps the same JSON with two-space
//! indentation and no header.

use serde::de::IgnoredAny;

const MAGIC: &[u8; 4] = b"LLMB";
const VERSION: u16 = 1;

/// The registry's form of a container's module.
///
/// The JSON is not parsed into values and printed again: keys keep their order and numbers
/// their digits, whatever the compiler writes.
///
/// # Errors
///
/// What is wrong with the container.
pub fn registry_form(container: &[u8]) -> Result<String, String> {
    let (header, payload) = container
        .split_at_checked(10)
        .ok_or_else(|| format!("{} bytes are too few for a module", container.len()))?;
    let magic = header.get(..4).unwrap_or_default();
    if magic != MAGIC {
        return Err(format!("magic bytes {}, not LLMB", magic.escape_ascii()));
    }
    let number = |range: std::ops::Range<usize>| {
        let bytes = header.get(range).unwrap_or_default().iter().rev();
        bytes.fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
    };
    let version = number(4..6);
    if version != u64::from(VERSION) {
        return Err(format!("container version {version}, not {VERSION}"));
    }
    let length = number(6..10);
    if u64::try_from(payload.len()) != Ok(length) {
        return Err(format!("payload of {} bytes, header says {length}", payload.len()));
    }
    let text = std::str::from_utf8(payload).map_err(|error| format!("payload: {error}"))?;
    let _: IgnoredAny = serde_json::from_str(text).map_err(|error| format!("payload: {error}"))?;
    Ok(indent(text))
}

/// Lays out valid JSON with two-space indentation, token by token.
fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    // A bracket that was just opened: nothing inside yet, and an empty pair stays together.
    let mut opened = false;
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    for character in text.chars() {
        if in_string {
            out.push(character);
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
            continue;
        }
        if character.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(character, '}' | ']');
        if closes {
            depth = depth.saturating_sub(1);
        }
        if opened != closes {
            new_line(&mut out, depth);
        }
        opened = false;
        out.push(character);
        match character {
            '"' => in_string = true,
            '{' | '[' => {
                depth += 1;
                opened = true;
            }
            ',' => new_line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: &str) -> Vec<u8> {
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        let mut out = b"LLMB\x01\x00".to_vec();
        out.extend(length.to_le_bytes());
        out.extend(json.as_bytes());
        out
    }

    #[test]
    fn layout_is_that_of_the_usual_printer() -> Result<(), serde_json::Error> {
        for text in [
            r#"{"a":[1,2,{"b":[]},{}],"c":{"d":null},"e":[[],[[]]]}"#,
            r#"{"a":"x\"{[,:\\","b":["\\",""]}"#,
            r#"[ ]"#,
            r#"{ "a" : [ 1 , true ] }"#,
            "7",
            r#""text""#,
            "{}",
        ] {
            let value: serde_json::Value = serde_json::from_str(text)?;
            let usual = serde_json::to_string_pretty(&value)?;
            assert_eq!(registry_form(&container(text)), Ok(usual), "{text}");
        }
        Ok(())
    }

    #[test]
    fn order_and_spelling_stay() {
        let form = registry_form(&container(r#"{"z":1.50,"a":"\u0041"}"#));
        assert_eq!(form.as_deref(), Ok("{\n  \"z\": 1.50,\n  \"a\": \"\\u0041\"\n}"));
    }

    #[test]
    fn broken_containers() {
        let good = container("{}");
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes
        };
        for (bytes, message) in [
            (b"LLMB".to_vec(), "4 bytes are too few for a module"),
            (with(0, b'{'), "magic bytes {LMB, not LLMB"),
            (with(4, 2), "container version 2, not 1"),
            (with(6, 3), "payload of 2 bytes, header says 3"),
            (with(10, b'['), "payload: "),
            (with(10, 0xff), "payload: "),
        ] {
            let error = registry_form(&bytes).err().unwrap_or_default();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
