//! From any deserializer into a [`Value`], and from a [`Value`] into typed params.

use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use super::ser::BIG_INT;
use super::{Map, Value};

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }
    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::integer(&number.to_string()).unwrap_or_default())
    }
    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::integer(&number.to_string()).unwrap_or_default())
    }
    fn visit_u128<E: de::Error>(self, number: u128) -> Result<Value, E> {
        Ok(Value::integer(&number.to_string()).unwrap_or_default())
    }
    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }
    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }
    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        inner.deserialize_any(self)
    }
    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    /// A big integer, from this crate's own deserializer; see [`BIG_INT`].
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Value, D::Error> {
        let digits = String::deserialize(inner)?;
        Value::integer(&digits).ok_or_else(|| de::Error::custom("not an integer"))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, item)) = entries.next_entry::<MapKey, Value>()? {
            map.insert(key.0, item);
        }
        Ok(Value::Map(map))
    }
}

/// A key as text: YAML and TOML may write numbers and booleans as keys.
struct MapKey(String);

impl<'de> Deserialize<'de> for MapKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(ValueVisitor)? {
            Value::String(text) => Ok(MapKey(text)),
            other => Ok(MapKey(other.to_json())),
        }
    }
}

/// Reads typed params out of a merged params map. A `null` counts as not given.
///
/// # Errors
/// The path of the first field at fault and what is wrong with it. The value itself is never quoted.
pub fn decode<T: DeserializeOwned>(params: &Map) -> Result<T, DecodeError> {
    let given = params.iter().filter(|(_, value)| !matches!(value, Value::Null));
    let given: Map = given.map(|(name, value)| (name.clone(), value.clone())).collect();
    let deserializer = ValueDeserializer(Value::Map(given));
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let path = error.path().to_string();
        let fault = error.into_inner();
        // A missing field is reported at its parent; name the field itself.
        let path = match &fault {
            DecodeFault::Missing(field) if path == "." => (*field).to_owned(),
            DecodeFault::Missing(field) => format!("{path}.{field}"),
            _ => path,
        };
        DecodeError { path, fault }
    })
}

/// Which field of typed params is at fault, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Path of the field, such as `headers.X-Token`.
    pub path: String,
    /// What is wrong with it.
    pub fault: DecodeFault,
}

/// What is wrong with a field. Quotes names and types only: serde's own texts quote values, which may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeFault {
    /// A required field is absent.
    Missing(&'static str),
    /// The value has another type.
    WrongType {
        /// The type that is expected.
        expected: String,
    },
    /// The value has the right type and is outside the allowed values.
    WrongValue {
        /// The allowed values.
        expected: String,
    },
    /// The field's own type refused the value.
    Refused,
}

impl Display for DecodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeFault::Missing(_) => f.write_str("is required"),
            DecodeFault::WrongType { expected } | DecodeFault::WrongValue { expected } => {
                write!(f, "must be {expected}")
            }
            DecodeFault::Refused => f.write_str("has a value that is not allowed"),
        }
    }
}

impl std::error::Error for DecodeFault {}

impl de::Error for DecodeFault {
    fn custom<T: Display>(_message: T) -> Self {
        DecodeFault::Refused
    }
    fn invalid_type(_found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        DecodeFault::WrongType { expected: expected.to_string() }
    }
    fn invalid_value(_found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        DecodeFault::WrongValue { expected: expected.to_string() }
    }
    fn unknown_variant(_found: &str, expected: &'static [&'static str]) -> Self {
        DecodeFault::WrongValue { expected: format!("one of {}", expected.join(", ")) }
    }
    fn unknown_field(_field: &str, expected: &'static [&'static str]) -> Self {
        DecodeFault::WrongValue { expected: format!("one of the fields {}", expected.join(", ")) }
    }
    fn missing_field(field: &'static str) -> Self {
        DecodeFault::Missing(field)
    }
}

struct ValueDeserializer(Value);

impl<'de> IntoDeserializer<'de, DecodeFault> for ValueDeserializer {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer {
    type Error = DecodeFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Int(number) => visitor.visit_i64(number),
            Value::BigInt(digits) => visitor.visit_newtype_struct(digits.as_str().into_deserializer()),
            Value::Float(number) => visitor.visit_f64(number),
            Value::String(text) => visitor.visit_string(text),
            Value::List(list) => {
                let mut items = SeqDeserializer::new(list.into_iter().map(ValueDeserializer));
                let value = visitor.visit_seq(&mut items)?;
                items.end().map(|()| value)
            }
            Value::Map(map) => {
                let entries = map.into_iter().map(|(key, item)| (key, ValueDeserializer(item)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeFault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeFault> {
        match name {
            BIG_INT => self.deserialize_any(visitor),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeFault> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(IntoDeserializer::<DecodeFault>::into_deserializer(text)),
            _ => Err(DecodeFault::WrongType { expected: format!("one of {}", variants.join(", ")) }),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    #[derive(Debug, Deserialize)]
    struct Params {
        url: String,
        #[serde(default)]
        headers: std::collections::BTreeMap<String, String>,
        #[serde(default)]
        body: Value,
    }

    fn params(text: &str) -> Map {
        read(text).expect("valid").as_map().expect("an object").clone()
    }

    #[test]
    fn typed_params_keep_untyped_parts_without_loss() {
        let text = r#"{"url":"u","body":{"a":[1,1.0,123456789012345678901234567890]}}"#;
        let read: Params = decode(&params(text)).expect("valid");
        assert_eq!(read.body.to_json(), r#"{"a":[1,1.0,123456789012345678901234567890]}"#);
        assert_eq!((read.url.as_str(), read.headers.len()), ("u", 0));
    }

    #[test]
    fn faults_name_the_field_and_never_the_value() {
        for (text, path, shown) in [
            ("{}", "url", "is required"),
            (r#"{"url": 5}"#, "url", "must be a string"),
            (r#"{"url": "u", "headers": {"X": ["SECRET"]}}"#, "headers.X", "must be a string"),
            (r#"{"url": "u", "headers": "SECRET"}"#, "headers", "must be a map"),
            (r#"{"url": 123456789012345678901234567890}"#, "url", "must be a string"),
        ] {
            let error = decode::<Params>(&params(text)).expect_err(text);
            assert_eq!((error.path.as_str(), error.fault.to_string().as_str()), (path, shown), "{text}");
        }
    }

    #[test]
    fn other_formats_become_values() {
        let value: Value = serde_json::from_str(r#"{"a":[1,2.5,18446744073709551615,null]}"#).expect("json");
        assert_eq!(value.to_json(), r#"{"a":[1,2.5,18446744073709551615,null]}"#);
    }
}
