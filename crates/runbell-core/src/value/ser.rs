//! From any `Serialize` type into a [`Value`], and from a [`Value`] into any serializer.

use std::fmt::{self, Display};

use serde::ser::{self, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::{BigInt, Map, Value};

/// The newtype name under which a big integer crosses serde, so that this crate's own serializer gets its digits.
pub(super) const BIG_INT: &str = "$runbell::BigInt";

/// Turns any `Serialize` type into a [`Value`].
///
/// # Errors
/// When the type's own `Serialize` fails, or a map key is neither text, number nor boolean.
pub fn to_value<T: Serialize + ?Sized>(source: &T) -> Result<Value, SerializeError> {
    source.serialize(ValueSerializer)
}

/// Why a type could not be turned into a [`Value`].
#[derive(Debug)]
pub struct SerializeError(String);

impl Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SerializeError {}

impl ser::Error for SerializeError {
    fn custom<T: Display>(message: T) -> Self {
        SerializeError(message.to_string())
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::BigInt(digits) => digits.serialize(serializer),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::String(text) => serializer.serialize_str(text),
            Value::List(list) => {
                let mut seq = serializer.serialize_seq(Some(list.len()))?;
                for item in list {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Map(map) => {
                let mut out = serializer.serialize_map(Some(map.len()))?;
                for (key, item) in map {
                    out.serialize_entry(key, item)?;
                }
                out.end()
            }
        }
    }
}

impl Serialize for BigInt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Formats with 64-bit numbers only get the digits as text rather than a rounded float.
        serializer.serialize_newtype_struct(BIG_INT, self.as_str())
    }
}

struct ValueSerializer;

type Out = Result<Value, SerializeError>;

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = SerializeError;
    type SerializeSeq = ListBuilder;
    type SerializeTuple = ListBuilder;
    type SerializeTupleStruct = ListBuilder;
    type SerializeTupleVariant = VariantBuilder<ListBuilder>;
    type SerializeMap = MapBuilder;
    type SerializeStruct = MapBuilder;
    type SerializeStructVariant = VariantBuilder<MapBuilder>;

    fn serialize_bool(self, flag: bool) -> Out {
        Ok(Value::Bool(flag))
    }
    fn serialize_i8(self, number: i8) -> Out {
        Ok(Value::Int(number.into()))
    }
    fn serialize_i16(self, number: i16) -> Out {
        Ok(Value::Int(number.into()))
    }
    fn serialize_i32(self, number: i32) -> Out {
        Ok(Value::Int(number.into()))
    }
    fn serialize_i64(self, number: i64) -> Out {
        Ok(Value::Int(number))
    }
    fn serialize_i128(self, number: i128) -> Out {
        Ok(Value::integer(&number.to_string()).unwrap_or_default())
    }
    fn serialize_u8(self, number: u8) -> Out {
        Ok(Value::Int(number.into()))
    }
    fn serialize_u16(self, number: u16) -> Out {
        Ok(Value::Int(number.into()))
    }
    fn serialize_u32(self, number: u32) -> Out {
        Ok(Value::Int(number.into()))
    }
    fn serialize_u64(self, number: u64) -> Out {
        Ok(Value::integer(&number.to_string()).unwrap_or_default())
    }
    fn serialize_u128(self, number: u128) -> Out {
        Ok(Value::integer(&number.to_string()).unwrap_or_default())
    }
    fn serialize_f32(self, number: f32) -> Out {
        Ok(Value::Float(number.into()))
    }
    fn serialize_f64(self, number: f64) -> Out {
        Ok(Value::Float(number))
    }
    fn serialize_char(self, character: char) -> Out {
        Ok(Value::String(character.to_string()))
    }
    fn serialize_str(self, text: &str) -> Out {
        Ok(Value::String(text.to_owned()))
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Out {
        Ok(Value::List(bytes.iter().map(|byte| Value::Int((*byte).into())).collect()))
    }
    fn serialize_none(self) -> Out {
        Ok(Value::Null)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Out {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Out {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _name: &'static str) -> Out {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Out {
        Ok(Value::String(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Out {
        let inner = value.serialize(self)?;
        match (name, &inner) {
            (BIG_INT, Value::String(digits)) => Ok(Value::integer(digits).unwrap_or(inner)),
            _ => Ok(inner),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Out {
        let inner = value.serialize(self)?;
        Ok(Value::Map(Map::from_iter([(variant.to_owned(), inner)])))
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<ListBuilder, SerializeError> {
        // The length is a caller's claim, so it only hints.
        Ok(ListBuilder(Vec::with_capacity(length.unwrap_or(0).min(1024))))
    }
    fn serialize_tuple(self, length: usize) -> Result<ListBuilder, SerializeError> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<ListBuilder, SerializeError> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeTupleVariant, SerializeError> {
        Ok(VariantBuilder { variant, inner: self.serialize_seq(Some(length))? })
    }
    fn serialize_map(self, length: Option<usize>) -> Result<MapBuilder, SerializeError> {
        Ok(MapBuilder { map: Map::with_capacity(length.unwrap_or(0).min(1024)), key: None })
    }
    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<MapBuilder, SerializeError> {
        self.serialize_map(Some(length))
    }
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self::SerializeStructVariant, SerializeError> {
        Ok(VariantBuilder { variant, inner: self.serialize_map(Some(length))? })
    }
}

struct ListBuilder(Vec<Value>);

impl ListBuilder {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        self.0.push(value.serialize(ValueSerializer)?);
        Ok(())
    }
}

struct MapBuilder {
    map: Map,
    key: Option<String>,
}

impl MapBuilder {
    fn push<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), SerializeError> {
        self.map.insert(key, value.serialize(ValueSerializer)?);
        Ok(())
    }
}

struct VariantBuilder<B> {
    variant: &'static str,
    inner: B,
}

impl<B> VariantBuilder<B> {
    fn wrap(variant: &str, inner: Value) -> Value {
        Value::Map(Map::from_iter([(variant.to_owned(), inner)]))
    }
}

impl ser::SerializeSeq for ListBuilder {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        self.push(value)
    }
    fn end(self) -> Out {
        Ok(Value::List(self.0))
    }
}

impl ser::SerializeTuple for ListBuilder {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        self.push(value)
    }
    fn end(self) -> Out {
        Ok(Value::List(self.0))
    }
}

impl ser::SerializeTupleStruct for ListBuilder {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        self.push(value)
    }
    fn end(self) -> Out {
        Ok(Value::List(self.0))
    }
}

impl ser::SerializeTupleVariant for VariantBuilder<ListBuilder> {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        self.inner.push(value)
    }
    fn end(self) -> Out {
        Ok(Self::wrap(self.variant, Value::List(self.inner.0)))
    }
}

impl ser::SerializeMap for MapBuilder {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerializeError> {
        self.key = Some(match key.serialize(ValueSerializer)? {
            Value::String(text) => text,
            plain @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bool(_)) => plain.to_json(),
            other => return Err(SerializeError(format!("a key must be a text, not {}", other.type_name()))),
        });
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        let key = self.key.take().unwrap_or_default();
        self.push(key, value)
    }
    fn end(self) -> Out {
        Ok(Value::Map(self.map))
    }
}

impl ser::SerializeStruct for MapBuilder {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), SerializeError> {
        self.push(key.to_owned(), value)
    }
    fn end(self) -> Out {
        Ok(Value::Map(self.map))
    }
}

impl ser::SerializeStructVariant for VariantBuilder<MapBuilder> {
    type Ok = Value;
    type Error = SerializeError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), SerializeError> {
        self.inner.push(key.to_owned(), value)
    }
    fn end(self) -> Out {
        Ok(Self::wrap(self.variant, Value::Map(self.inner.map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::read;

    #[test]
    fn a_value_survives_its_own_serializer() {
        let text = r#"{"a":[1,1.0,null,true,"x",123456789012345678901234567890],"b":{"c":-1}}"#;
        let value = read(text).expect("valid");
        assert_eq!(to_value(&value).expect("values serialize"), value);
    }

    #[test]
    fn not_a_number_survives() {
        assert!(matches!(to_value(&f64::NAN), Ok(Value::Float(number)) if number.is_nan()));
    }

    #[test]
    fn other_serializers_get_big_integers_as_digits() {
        let value = read("123456789012345678901234567890").expect("valid");
        assert_eq!(serde_json::to_string(&value).expect("json"), "\"123456789012345678901234567890\"");
        assert_eq!(serde_json::to_string(&Value::Float(f64::NAN)).expect("json"), "null");
    }
}
