//! The objects of run data.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Value;

/// Up to this many members a search by comparing keys is faster than one by hash.
const SEARCHED: usize = 16;

/// An object of run data: keys in the order they were written. Cloning is cheap; a clone that is changed becomes its
/// own.
///
/// Most objects of a run are small, and a server holds many, so this is a list of members; only large ones have an
/// index beside it.
#[derive(Clone, Default)]
pub struct Map(Option<Arc<Members>>);

#[derive(Clone, Default)]
struct Members {
    entries: Vec<(String, Value)>,
    /// Where each key is; only when there are more than [`SEARCHED`].
    index: Option<HashMap<String, usize>>,
}

impl Members {
    fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.entries.iter().position(|(known, _)| known == key),
        }
    }

    fn reindex(&mut self) {
        let places = self.entries.iter().enumerate().map(|(at, (key, _))| (key.clone(), at));
        self.index = (self.entries.len() > SEARCHED).then(|| places.collect());
    }
}

impl Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Map {
    /// An empty object.
    pub fn new() -> Self {
        Map::default()
    }

    /// An empty object with room for `capacity` members.
    pub fn with_capacity(capacity: usize) -> Self {
        Map(Some(Arc::new(Members { entries: Vec::with_capacity(capacity), index: None })))
    }

    fn entries(&self) -> &[(String, Value)] {
        self.0.as_ref().map_or(&[], |members| &members.entries)
    }

    fn members(&mut self) -> &mut Members {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The place of the member `key`, counted from 0.
    pub fn position(&self, key: &str) -> Option<usize> {
        self.0.as_ref()?.position(key)
    }

    /// Whether there is a member `key`.
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// The member `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).map(|at| &self.entries()[at].1)
    }

    /// The member `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.position(key)?;
        Some(&mut self.members().entries[at].1)
    }

    /// The member in place `at`, counted from 0.
    pub fn get_index(&self, at: usize) -> Option<(&String, &Value)> {
        self.entries().get(at).map(|(key, value)| (key, value))
    }

    /// Sets the member `key` and returns what it was. A known key keeps its place, a new one goes to the end.
    pub fn insert(&mut self, key: String, value: Value) -> Option<Value> {
        let members = self.members();
        if let Some(at) = members.position(&key) {
            return Some(std::mem::replace(&mut members.entries[at].1, value));
        }
        if let Some(index) = &mut members.index {
            index.insert(key.clone(), members.entries.len());
        }
        members.entries.push((key, value));
        if members.index.is_none() && members.entries.len() > SEARCHED {
            members.reindex();
        }
        None
    }

    /// Takes the member `key` out; the others keep their order.
    pub fn shift_remove(&mut self, key: &str) -> Option<Value> {
        let at = self.position(key)?;
        let members = self.members();
        let (_, value) = members.entries.remove(at);
        if members.index.is_some() {
            members.reindex();
        }
        Some(value)
    }

    /// The members in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.entries().iter())
    }

    /// The members in order, their values to change.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (&String, &mut Value)> + ExactSizeIterator {
        self.members().entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    /// The keys in order.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = &String> + ExactSizeIterator {
        self.entries().iter().map(|(key, _)| key)
    }

    /// The values in order.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &Value> + ExactSizeIterator {
        self.entries().iter().map(|(_, value)| value)
    }

    /// The values in order, to change them.
    pub fn values_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Value> + ExactSizeIterator {
        self.members().entries.iter_mut().map(|(_, value)| value)
    }
}

/// The order of members does not matter.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl FromIterator<(String, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        let mut map = Map::new();
        map.extend(entries);
        map
    }
}

impl<const N: usize> From<[(String, Value); N]> for Map {
    fn from(entries: [(String, Value); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl Extend<(String, Value)> for Map {
    fn extend<I: IntoIterator<Item = (String, Value)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl IntoIterator for Map {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;
    fn into_iter(self) -> Self::IntoIter {
        let members = self.0.map(Arc::unwrap_or_clone).unwrap_or_default();
        members.entries.into_iter()
    }
}

impl<'m> IntoIterator for &'m Map {
    type Item = (&'m String, &'m Value);
    type IntoIter = Iter<'m>;
    fn into_iter(self) -> Iter<'m> {
        self.iter()
    }
}

/// The members of an object, in order.
#[derive(Debug, Clone)]
pub struct Iter<'m>(std::slice::Iter<'m, (String, Value)>);

impl<'m> Iterator for Iter<'m> {
    type Item = (&'m String, &'m Value);
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (key, value))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|(key, value)| (key, value))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Map;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Map, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_objects_behave_alike() {
        for size in [0, 1, SEARCHED, SEARCHED + 1, 1000] {
            let mut map: Map = (0..size).map(|number| (format!("k{number}"), Value::from(1))).collect();
            assert_eq!(map.len(), size);
            assert_eq!(map.insert("k0".to_owned(), Value::from(2)), (size > 0).then(|| Value::from(1)), "{size}");
            assert_eq!(map.get_index(0).map(|(key, _)| key.as_str()), Some("k0"));
            map.insert("last".to_owned(), Value::Null);
            assert_eq!(map.shift_remove("k0"), Some(Value::from(2)));
            assert!(!map.contains_key("k0") && map.get("gone").is_none());
            assert_eq!(map.keys().next_back().map(String::as_str), Some("last"));
            for number in 1..size {
                assert_eq!(map.get(&format!("k{number}")), Some(&Value::from(1)), "{size}");
            }
            let mut copy = map.clone();
            copy.insert("copied".to_owned(), Value::Null);
            assert!(!map.contains_key("copied"), "a changed clone is its own");
            let reversed: Map = map.clone().into_iter().rev().collect();
            assert_eq!(map, reversed);
        }
    }
}
