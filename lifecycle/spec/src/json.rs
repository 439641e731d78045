//! JSON as the reference lifecycle writes it into labels.
//!
//! Labels are compared as text, by people and by image digests, so what Go's encoder does is done here too:
//! table keys sorted, whole floats without a fraction, `<`, `>` and `&` escaped.

use serde::{Serialize, Serializer};
use serde_json::{Map, Number, Value};

/// The JSON text of a label.
pub fn label_text<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    Ok(escape_html(&serde_json::to_string(value)?))
}

/// Escapes what Go's encoder does, so that JSON may stand in a page. Outside of strings JSON has none of these
/// characters, so that escaping each is right.
pub(crate) fn escape_html(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A TOML table as JSON, keys sorted; dates and times become text, what JSON cannot say becomes null.
pub fn of_table(table: &toml::Table) -> Value {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    Value::Object(
        entries
            .into_iter()
            .map(|(key, value)| (key.clone(), of_value(value)))
            .collect::<Map<_, _>>(),
    )
}

fn of_value(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::Number((*number).into()),
        toml::Value::Float(number) => of_float(*number),
        toml::Value::Boolean(flag) => Value::Bool(*flag),
        toml::Value::Datetime(instant) => Value::String(instant.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(of_value).collect()),
        toml::Value::Table(table) => of_table(table),
    }
}

fn of_float(number: f64) -> Value {
    /// Above this a float no longer tells one integer from the next.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        return Value::Number((number as i64).into());
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

pub(crate) fn table<S: Serializer>(value: &toml::Table, serializer: S) -> Result<S::Ok, S::Error> {
    of_table(value).serialize(serializer)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(crate) fn optional_table<S: Serializer>(
    value: &Option<toml::Table>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    value.as_ref().map(of_table).serialize(serializer)
}

/// A label's JSON back into TOML, for `analyzed.toml`; nulls, which TOML lacks, are left out.
pub fn to_table(object: &Map<String, Value>) -> toml::Table {
    object
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), to_value(value)?)))
        .collect()
}

fn to_value(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => toml::Value::Integer(whole),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(values) => toml::Value::Array(values.iter().filter_map(to_value).collect()),
        Value::Object(object) => toml::Value::Table(to_table(object)),
    })
}
