//! JSON in which no member occurs twice.
//!
//! Two readers of one object with a repeated member may see two different values (RFC 8725 §2.4, RFC 7519 §4;
//! std:63), so such an object is refused, at any depth.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes are not an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Some member occurs twice.
    #[error("a member occurs twice")]
    Duplicate,
}

/// Reads one JSON object.
///
/// # Errors
/// Where the bytes are something else, or a member occurs twice.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(Strict(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_))) => {
            Err(JsonError::NotAnObject)
        }
        // The only error of ours; serde_json's own are about syntax, end of input or depth.
        Err(error) if error.is_data() => Err(JsonError::Duplicate),
        Err(_) => Err(JsonError::NotAnObject),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member occurs twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_member_is_refused_at_any_depth() {
        // std:63
        let cases: [(&str, Result<(), JsonError>); 9] = [
            (r#"{"a":1,"b":[1,2.5,-3,"x",null,true,{"a":{}}]}"#, Ok(())),
            (r#"{"a":1,"a":1}"#, Err(JsonError::Duplicate)),
            (r#"{"a":1,"\u0061":2}"#, Err(JsonError::Duplicate)),
            (r#"{"x":{"a":1,"a":2}}"#, Err(JsonError::Duplicate)),
            (r#"{"x":[{"a":1,"a":2}]}"#, Err(JsonError::Duplicate)),
            ("[]", Err(JsonError::NotAnObject)),
            ("", Err(JsonError::NotAnObject)),
            (r#"{"a":1} {}"#, Err(JsonError::NotAnObject)),
            (r#"{"a":}"#, Err(JsonError::NotAnObject)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_object(text.as_bytes()).map(|_| ()), expected, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(parse_object(format!("{{\"a\":{deep}").as_bytes()), Err(JsonError::NotAnObject));
    }

    #[test]
    fn values_are_those_of_an_ordinary_reader() {
        let text = r#"{"a":1,"b":[1,2.5,-3,"x\n",null,true,{"c":18446744073709551615}]}"#;
        let ordinary: Map<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(parse_object(text.as_bytes()).unwrap(), ordinary);
    }
}
