//! JSON values as Drift's files hold them: objects that remember the order of the file and,
//! where a key is written twice, keep the last value.
//!
//! [`parse`] is the only door by which JSON enters: it bounds bytes and values, wants UTF-8
//! without a byte order mark, nests no deeper than 128 levels, and refuses what RFC 8259
//! refuses (`NaN`, lone surrogates). [`encode`](crate::canonical_json) is the way back.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of 64 bits, or a double.
    Number(Number),
    /// A string.
    String(String),
    /// `[…]`
    Array(Vec<Value>),
    /// `{…}`
    Object(Object),
}

/// A JSON object: sorted by key for lookups and writing, with the order of the file beside it.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: BTreeMap<String, (usize, Value)>,
    next: usize,
}

/// Two objects are equal when their members are; the order in which they came says nothing.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Object {
    /// An object without members.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.members.get(key).map(|(_, value)| value)
    }

    /// The value under `key`, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.members.get_mut(key).map(|(_, value)| value)
    }

    /// Sets `key`. A key that was there keeps its place in the order of the file.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) {
        let next = &mut self.next;
        let slot = self.members.entry(key.into()).or_insert_with(|| {
            let place = *next;
            *next = next.saturating_add(1);
            (place, Value::Null)
        });
        slot.1 = value.into();
    }

    /// Removes `key` and returns what it held.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.members.remove(key).map(|(_, value)| value)
    }

    /// Members sorted by key (code point order, which is the order of the UTF-8 bytes).
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(key, (_, value))| (key.as_str(), value))
    }

    /// Members in the order in which the file names them.
    #[must_use]
    pub fn in_file_order(&self) -> Vec<(&str, &Value)> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, (place, _))| *place);
        members.into_iter().map(|(key, (_, value))| (key.as_str(), value)).collect()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The string under `key`, if it is one and not empty.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    /// Whether `format` is the given string and `version` the integer 0: every Drift file of
    /// format 0 says so at the top. `0.0`, `-0`, `false` and `"0"` are not that integer.
    #[must_use]
    pub fn is_format_zero(&self, format: &str) -> bool {
        self.get("format").and_then(Value::as_str) == Some(format)
            && matches!(self.get("version"), Some(Value::Number(n)) if n.as_u64() == Some(0))
    }
}

impl<K: Into<String>, const N: usize> From<[(K, Value); N]> for Object {
    fn from(members: [(K, Value); N]) -> Self {
        let mut object = Self::new();
        for (key, value) in members {
            object.insert(key, value);
        }
        object
    }
}

/// Builds an object value from its members.
#[must_use]
pub fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(Object::from(members))
}

impl Value {
    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The items, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The items as strings, if it is an array of nothing else.
    #[must_use]
    pub fn as_strings(&self) -> Option<Vec<&str>> {
        self.as_array()?.iter().map(Self::as_str).collect()
    }

    /// Whether the value counts as true: everything but `null`, `false`, zero and the empty
    /// string, array and object.
    #[must_use]
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Number(number) => number.as_f64() != Some(0.0),
            Self::String(text) => !text.is_empty(),
            Self::Array(items) => !items.is_empty(),
            Self::Object(object) => !object.is_empty(),
        }
    }

    /// What kind of value it is, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(value.into())
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

/// Why bytes are not JSON that Drift reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// More bytes than a file of this kind may have.
    #[error("{found} bytes of JSON, at most {allowed} are read")]
    TooLarge {
        /// Bytes there are.
        found: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// More values than a file of this kind may have.
    #[error("JSON of more than {allowed} values")]
    TooMany {
        /// Values allowed.
        allowed: usize,
    },
    /// Not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Offset of the first bad byte.
        at: usize,
    },
    /// UTF-8, but not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
}

/// How large a document may be. Values are counted too: `[0,0,0,…]` takes twenty times the memory
/// of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes of text.
    pub bytes: usize,
    /// Values of any kind, those inside others included.
    pub values: usize,
}

impl Limit {
    /// For sidecars.
    pub const SIDECAR: Self = Self { bytes: 1 << 20, values: 1 << 16 };
    /// For trust stores and sources files.
    pub const SETTINGS: Self = Self { bytes: 1 << 24, values: 1 << 20 };
    /// For indexes and locks.
    pub const INDEX: Self = Self { bytes: 1 << 27, values: 1 << 22 };
    /// For manifests of packages.
    pub const MANIFEST: Self = Self { bytes: 1 << 26, values: 1 << 21 };

    /// The limit in bytes, for reading the file.
    #[must_use]
    pub fn file(self) -> u64 {
        u64::try_from(self.bytes).unwrap_or(u64::MAX)
    }
}

/// Reads one JSON document.
///
/// # Errors
/// [`JsonError`], which says where.
pub fn parse(bytes: &[u8], limit: Limit) -> Result<Value, JsonError> {
    if bytes.len() > limit.bytes {
        return Err(JsonError::TooLarge { found: bytes.len(), allowed: limit.bytes });
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| JsonError::NotUtf8 { at: error.valid_up_to() })?;
    let left = Cell::new(limit.values);
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Reader { left: &left }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        if left.get() == 0 {
            JsonError::TooMany { allowed: limit.values }
        } else {
            JsonError::Syntax(error.to_string())
        }
    })
}

/// Builds values as long as some are left.
#[derive(Clone, Copy)]
struct Reader<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 {
            return Err(D::Error::custom("too many values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that is no finite double"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { bytes: 1 << 16, values: 1 << 10 };

    #[test]
    fn keeps_file_order_and_the_last_of_two_values() {
        let value = parse(br#"{"b":1,"a":2,"b":3}"#, LIMIT).unwrap();
        let object = value.as_object().unwrap();
        let keys: Vec<_> = object.in_file_order().iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["b", "a"]);
        assert_eq!(object.get("b"), Some(&Value::Number(3.into())));
    }

    #[test]
    fn refuses_what_is_not_json() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        for text in [
            "",
            "{",
            "\u{feff}{}",
            "NaN",
            "[Infinity]",
            "{} x",
            "{\"a\":\"\\ud800\"}",
            "'a'",
            &deep,
        ] {
            let result = parse(text.as_bytes(), LIMIT);
            assert!(matches!(result, Err(JsonError::Syntax(_))), "{text:?}: {result:?}");
        }
        assert_eq!(parse(b"\"\xff\"", LIMIT), Err(JsonError::NotUtf8 { at: 1 }));
    }

    #[test]
    fn bounds_bytes_and_values() {
        let limit = |bytes, values| Limit { bytes, values };
        let text = b"[1,{\"a\":2}]";
        assert!(parse(text, limit(11, 5)).is_ok());
        assert_eq!(parse(text, limit(10, 5)), Err(JsonError::TooLarge { found: 11, allowed: 10 }));
        assert_eq!(parse(text, limit(11, 4)), Err(JsonError::TooMany { allowed: 4 }));
    }

    #[test]
    fn only_the_integer_zero_is_version_zero() {
        for (text, expected) in [
            ("0", true),
            ("0.0", false),
            ("-0", false),
            ("false", false),
            ("\"0\"", false),
            ("1", false),
            ("null", false),
        ] {
            let document = format!("{{\"format\":\"x\",\"version\":{text}}}");
            let value = parse(document.as_bytes(), LIMIT).unwrap();
            assert_eq!(value.as_object().unwrap().is_format_zero("x"), expected, "{text}");
        }
    }
}
