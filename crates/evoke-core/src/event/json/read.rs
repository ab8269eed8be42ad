//! JSON → event.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::event::{Attribute, Data, Event, SPEC_VERSION, media};

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Unchecked(event) = Unchecked::deserialize(from)?;
        event.check().map_err(D::Error::custom)?;
        Ok(event)
    }
}

/// An event whose members have the right JSON types; [`Event::check`] is still to come. Apart from
/// [`Event`]'s own `Deserialize`, so that the sentences of `check` do not get a position in the text appended.
pub(super) struct Unchecked(pub Event);

impl<'de> Deserialize<'de> for Unchecked {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(EventVisitor).map(Self)
    }
}

/// A JSON array of events, bounded.
pub(super) struct Batch {
    pub max_events: usize,
}

impl<'de> DeserializeSeed<'de> for Batch {
    type Value = Vec<Event>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Event>, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Batch {
    type Value = Vec<Event>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array of CloudEvents")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Event>, A::Error> {
        let mut events = Vec::new();
        while let Some(Unchecked(event)) = seq.next_element()? {
            if events.len() == self.max_events {
                return Err(A::Error::custom(format_args!("batch has more than {} events", self.max_events)));
            }
            events.push(event);
        }
        Ok(events)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a CloudEvent as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut event = Event::new("", "", "");
        let mut required = [("specversion", None), ("id", None), ("source", None), ("type", None)];
        let mut data: Option<Value> = None;
        let mut base64: Option<Option<String>> = None;
        while let Some(member) = map.next_key::<Member>()? {
            let repeated = match &member {
                Member::SpecVersion => text(&mut map, "specversion", &mut required[0].1)?,
                Member::Id => text(&mut map, "id", &mut required[1].1)?,
                Member::Source => text(&mut map, "source", &mut required[2].1)?,
                Member::Type => text(&mut map, "type", &mut required[3].1)?,
                Member::Subject => text(&mut map, "subject", &mut event.subject)?,
                Member::Time => text(&mut map, "time", &mut event.time)?,
                Member::DataContentType => text(&mut map, "datacontenttype", &mut event.data_content_type)?,
                Member::DataSchema => text(&mut map, "dataschema", &mut event.data_schema)?,
                Member::Data => data.replace(map.next_value()?).is_some(),
                Member::DataBase64 => base64.replace(map.next_value()?).is_some(),
                Member::Extension(name) => match map.next_value_seed(AttributeSeed(name))? {
                    Some(value) => event.extensions.insert(name.clone(), value).is_some(),
                    None => false,
                },
            };
            if repeated {
                return Err(A::Error::custom(format_args!("member {} is there twice", member.name())));
            }
        }
        if let Some((name, _)) = required.iter().find(|(_, value)| value.is_none()) {
            return Err(A::Error::custom(format_args!("attribute {name} is missing")));
        }
        let [version, id, source, ty] = required.map(|(_, value)| value.unwrap_or_default());
        if version != SPEC_VERSION {
            return Err(A::Error::custom(format_args!(
                "attribute specversion is {version:?}, only \"1.0\" is known"
            )));
        }
        (event.id, event.source, event.ty) = (id, source, ty);
        event.data = payload(data, base64.flatten(), event.data_content_type.as_deref())?;
        Ok(event)
    }
}

/// Section 3.1 of the format.
fn payload<E: Error>(
    data: Option<Value>,
    base64: Option<String>,
    content_type: Option<&str>,
) -> Result<Option<Data>, E> {
    let json = content_type.is_none_or(media::is_json);
    match (data, base64) {
        (Some(_), Some(_)) => Err(E::custom("data and data_base64 exclude each other")),
        (None, None) => Ok(None),
        (None, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Some(Data::Bytes(Bytes::from(bytes)))),
            Err(error) => Err(E::custom(format_args!("data_base64 is no base64: {error}"))),
        },
        (Some(value), None) if json => Ok(Some(Data::Json(value))),
        (Some(Value::String(text)), None) => Ok(Some(Data::Text(text))),
        (Some(Value::Null), None) => Ok(None),
        (Some(_), None) => Err(E::custom(format_args!(
            "data must be a string when datacontenttype is {:?}",
            content_type.unwrap_or_default()
        ))),
    }
}

enum Member {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
    Data,
    DataBase64,
    Extension(String),
}

impl Member {
    const KNOWN: [(&'static str, Self); 10] = [
        ("specversion", Self::SpecVersion),
        ("id", Self::Id),
        ("source", Self::Source),
        ("type", Self::Type),
        ("subject", Self::Subject),
        ("time", Self::Time),
        ("datacontenttype", Self::DataContentType),
        ("dataschema", Self::DataSchema),
        ("data", Self::Data),
        ("data_base64", Self::DataBase64),
    ];

    fn name(&self) -> &str {
        match self {
            Self::Extension(name) => name,
            known => Self::KNOWN
                .iter()
                .find(|(_, member)| std::mem::discriminant(member) == std::mem::discriminant(known))
                .map_or("", |(name, _)| name),
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Member;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<Member, E> {
                let known = Member::KNOWN.into_iter().find(|(known, _)| *known == name);
                Ok(known.map_or_else(|| Member::Extension(name.to_owned()), |(_, member)| member))
            }
        }
        from.deserialize_identifier(NameVisitor)
    }
}

/// Reads a string attribute into `to`; `true` when there was one already.
fn text<'de, A: MapAccess<'de>>(
    map: &mut A,
    name: &'static str,
    to: &mut Option<String>,
) -> Result<bool, A::Error> {
    match map.next_value_seed(AttributeSeed(name))? {
        None => Ok(false),
        Some(Attribute::String(text)) => Ok(to.replace(text).is_some()),
        Some(other) => {
            Err(A::Error::custom(format_args!("attribute {name} is {other}, it must be a string")))
        }
    }
}

/// An attribute's value, or `None` for `null`.
struct AttributeSeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for AttributeSeed<'_> {
    type Value = Option<Attribute>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl Visitor<'_> for AttributeSeed<'_> {
    type Value = Option<Attribute>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a string, a boolean or a 32-bit integer as attribute {}", self.0)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Attribute::Boolean(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        match i32::try_from(value) {
            Ok(value) => Ok(Some(Attribute::Integer(value))),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        match i32::try_from(value) {
            Ok(value) => Ok(Some(Attribute::Integer(value))),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Unsigned(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(Attribute::String(value.to_owned())))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Self::Value, E> {
        Ok(Some(Attribute::String(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
