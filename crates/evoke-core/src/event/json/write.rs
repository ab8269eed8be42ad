//! Event → JSON.

use std::io;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::event::{Attribute, Data, Event, SPEC_VERSION, media};

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        map.serialize_entry("specversion", SPEC_VERSION)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.ty)?;
        let optional = [
            ("subject", &self.subject),
            ("time", &self.time),
            ("datacontenttype", &self.data_content_type),
            ("dataschema", &self.data_schema),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        for (name, value) in &self.extensions {
            map.serialize_entry(name, value)?;
        }
        let json = self.data_content_type.as_deref().is_none_or(media::is_json);
        match &self.data {
            None => {}
            Some(Data::Json(value)) if json => map.serialize_entry("data", value)?,
            // Only an unchecked event gets here: text is the one form JSON data has under another content type.
            Some(Data::Json(value)) => map.serialize_entry("data", &value.to_string())?,
            Some(Data::Text(text)) => map.serialize_entry("data", text)?,
            Some(Data::Bytes(bytes)) => map.serialize_entry("data_base64", &Base64(bytes))?,
        }
        map.end()
    }
}

impl Serialize for Attribute {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Boolean(value) => to.serialize_bool(*value),
            Self::Integer(value) => to.serialize_i32(*value),
            Self::String(value) => to.serialize_str(value),
        }
    }
}

struct Base64<'a>(&'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Base64Display::new(self.0, &STANDARD))
    }
}

/// Counts what would be written.
pub(super) fn len(event: &Event) -> u64 {
    struct Count(u64);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, event)
        .expect("an event has only string keys, and counting does not fail");
    count.0
}
