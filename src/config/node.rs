//! The merged tree, and its strict deserialiser.
//!
//! Values of the file have a type and keep it: `5` is no text and `"5"` no number. Values of the
//! environment are texts and become what the setting asks for. Every error knows its path.

use std::collections::BTreeMap;

use config::{Value, ValueKind};
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};

use super::fault::{Fault, Problem, Step};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The value is a text of the environment.
    pub(super) loose: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// Stands where a value is missing or unusable, so that reading can go on: it becomes
    /// whatever is asked for. The number makes each one's text its own.
    StandIn(usize),
}

impl Node {
    pub(super) fn from_value(value: Value) -> Self {
        let loose = value.origin().is_some();
        let kind = match value.kind {
            ValueKind::Nil => Kind::Table(BTreeMap::new()),
            ValueKind::Boolean(value) => Kind::Boolean(value),
            ValueKind::I64(value) => Kind::Integer(value),
            ValueKind::Float(value) => Kind::Float(value),
            ValueKind::String(value) => Kind::Text(value),
            ValueKind::Array(values) => {
                Kind::List(values.into_iter().map(Self::from_value).collect())
            }
            ValueKind::Table(values) => Kind::Table(
                values.into_iter().map(|(key, value)| (key, Self::from_value(value))).collect(),
            ),
            other @ (ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_)) => {
                Kind::Text(other.to_string())
            }
        };
        Self { kind, loose }
    }

    pub(super) fn stand_in(number: usize) -> Self {
        Self { kind: Kind::StandIn(number), loose: false }
    }

    /// How a person would call the value.
    pub(super) fn description(&self) -> String {
        match &self.kind {
            Kind::Boolean(value) => format!("`{value}`"),
            Kind::Integer(value) => format!("the integer {value}"),
            Kind::Float(value) => format!("the number {value:?}"),
            Kind::Text(value) => format!("the text {}", shortened(value)),
            Kind::List(list) => format!("a list of {}", list.len()),
            Kind::Table(_) => "a table".into(),
            Kind::StandIn(_) => "nothing".into(),
        }
    }

    pub(super) fn at(&self, steps: &[Step]) -> Option<&Self> {
        steps.iter().try_fold(self, |node, step| match (&node.kind, step) {
            (Kind::Table(table), Step::Key(key)) => table.get(key),
            (Kind::List(list), Step::Index(index)) => list.get(*index),
            _ => None,
        })
    }

    pub(super) fn at_mut(&mut self, steps: &[Step]) -> Option<&mut Self> {
        steps.iter().try_fold(self, |node, step| match (&mut node.kind, step) {
            (Kind::Table(table), Step::Key(key)) => table.get_mut(key),
            (Kind::List(list), Step::Index(index)) => list.get_mut(*index),
            _ => None,
        })
    }

    /// A text of the environment, read as `T` where it can be.
    fn loosely<T: std::str::FromStr>(&self) -> Option<T> {
        match &self.kind {
            Kind::Text(text) if self.loose => text.trim().parse().ok(),
            _ => None,
        }
    }

    fn items(&self) -> Option<Vec<Self>> {
        match &self.kind {
            Kind::Text(text) if self.loose => Some(
                text.split(',')
                    .map(|item| Self { kind: Kind::Text(item.trim().to_owned()), loose: true })
                    .collect(),
            ),
            _ => None,
        }
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        format!("{text:?}")
    } else {
        format!("{:?}…", text.chars().take(MOST).collect::<String>())
    }
}

macro_rules! numbers {
    ($($method:ident, $visit:ident, $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self.loosely::<$type>() {
                Some(value) => visitor.$visit(value),
                None => self.strict(visitor),
            }
        }
    )*};
}

impl Node {
    /// Gives the value as it is. A stand-in is a zero here and whatever else is asked elsewhere.
    fn strict<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::Boolean(value) => visitor.visit_bool(*value),
            Kind::Integer(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(value) => visitor.visit_str(value),
            Kind::List(list) => visitor.visit_seq(Items { list: list.iter().enumerate() }),
            Kind::Table(table) => {
                visitor.visit_map(Entries { entries: table.iter(), current: None })
            }
            Kind::StandIn(_) => visitor.visit_u64(0),
        }
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.loosely::<i64>() {
            Some(value) => visitor.visit_i64(value),
            None => self.strict(visitor),
        }
    }

    numbers! {
        deserialize_bool, visit_bool, bool;
        deserialize_i8, visit_i8, i8;
        deserialize_i16, visit_i16, i16;
        deserialize_i32, visit_i32, i32;
        deserialize_i64, visit_i64, i64;
        deserialize_u8, visit_u8, u8;
        deserialize_u16, visit_u16, u16;
        deserialize_u32, visit_u32, u32;
        deserialize_u64, visit_u64, u64;
        deserialize_f32, visit_f32, f32;
        deserialize_f64, visit_f64, f64;
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::StandIn(number) => visitor.visit_string(format!("?{number}")),
            _ => self.strict(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::StandIn(_) => visitor.visit_seq(Items { list: [].iter().enumerate() }),
            _ => match self.items() {
                Some(items) => visitor.visit_seq(Items { list: items.iter().enumerate() }),
                None => self.strict(visitor),
            },
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Kind::List(list) = &self.kind
            && list.len() != length
        {
            return Err(de::Error::invalid_length(list.len(), &visitor));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.kind {
            Kind::StandIn(_) => {
                visitor.visit_map(Entries { entries: BTreeMap::new().iter(), current: None })
            }
            Kind::Table(_) => self.strict(visitor),
            // A derived visitor would take a list as the fields in their order.
            _ => Err(Fault::new(Problem::Unexpected("a table".into()))),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word = match &self.kind {
            Kind::Text(word) => word,
            Kind::StandIn(_) => words.first().copied().unwrap_or_default(),
            _ => {
                let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                return Err(Fault::new(Problem::Unexpected(words.join(" or "))));
            }
        };
        let word: StrDeserializer<'_, Fault> = word.into_deserializer();
        visitor.visit_enum(word)
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple_struct identifier ignored_any
    }
}

struct Items<'a> {
    list: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some((index, node)) = self.list.next() else {
            return Ok(None);
        };
        seed.deserialize(node).map(Some).map_err(|fault| fault.inside(Step::Index(index)))
    }
}

struct Entries<'a> {
    entries: std::collections::btree_map::Iter<'a, String, Node>,
    current: Option<(&'a String, &'a Node)>,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let text: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(text).map(Some).map_err(|fault| fault.inside(Step::Key(key.clone())))
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (key, node) = self.current.expect("serde asks for a key before its value");
        seed.deserialize(node).map_err(|fault| fault.inside(Step::Key(key.clone())))
    }
}
