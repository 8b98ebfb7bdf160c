//! What is wrong with an input, told to who sent it: where, a word for programs, a sentence for people.
//!
//! A sentence names what the schema wants and never what was sent: that may be long, or a secret.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as E},
};
use vmctl_api_types::FieldError;

use crate::pointer;

/// Longest sentence, in characters: a schema may hold whole lists.
const MAX_DETAIL: usize = 300;

pub(super) fn tell(error: &ValidationError<'_>) -> FieldError {
    let at = error.instance_path().to_string();
    let (pointer, code, detail) = match error.kind() {
        E::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let at = pointer::member(&at, name);
            (at, "required", "is missing".to_owned())
        }
        E::AdditionalProperties { unexpected } => {
            let first = unexpected.first();
            let at = first.map_or_else(|| at.clone(), |name| pointer::member(&at, name));
            let detail = format!("unknown: {}", unexpected.join(", "));
            (at, "unknown-field", detail)
        }
        kind => {
            let (code, detail) = rule(kind, error);
            (at, code, detail)
        }
    };
    FieldError {
        pointer,
        code: code.to_owned(),
        detail: detail.chars().take(MAX_DETAIL).collect(),
    }
}

fn rule(kind: &E, error: &ValidationError<'_>) -> (&'static str, String) {
    match kind {
        E::Type { kind } => ("type", format!("must be of type {}", types(kind))),
        E::Enum { options } => ("enum", format!("must be one of {options}")),
        E::Constant { expected_value } => ("const", format!("must be {expected_value}")),
        E::Pattern { pattern } => ("pattern", format!("must match {pattern}")),
        E::Format { format } => ("format", format!("must be of format {format}")),
        E::MinLength { limit } => ("min-length", format!("has less than {limit} characters")),
        E::MaxLength { limit } => ("max-length", format!("has more than {limit} characters")),
        E::MinItems { limit } => ("min-items", format!("has less than {limit} items")),
        E::MaxItems { limit } => ("max-items", format!("has more than {limit} items")),
        E::UniqueItems => ("unique-items", "has an item twice".to_owned()),
        E::MinProperties { limit } => ("min-properties", format!("has less than {limit} members")),
        E::MaxProperties { limit } => ("max-properties", format!("has more than {limit} members")),
        E::Minimum { limit } => ("minimum", format!("must be at least {limit}")),
        E::Maximum { limit } => ("maximum", format!("must be at most {limit}")),
        E::ExclusiveMinimum { limit } => ("minimum", format!("must be more than {limit}")),
        E::ExclusiveMaximum { limit } => ("maximum", format!("must be less than {limit}")),
        E::MultipleOf { multiple_of } => (
            "multiple-of",
            format!("must be a multiple of {multiple_of}"),
        ),
        _ => ("schema", error.masked().to_string()),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|t| t.to_string()).collect();
            names.join(" or ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_rule_says_what_it_wants() {
        let schema = json!({
            "properties": {
                "pages": {"minimum": 1, "maximum": 9, "multipleOf": 2},
                "hosts": {"minItems": 1, "maxItems": 2, "uniqueItems": true},
                "open": {"exclusiveMinimum": 0, "exclusiveMaximum": 5},
                "tags": {"minProperties": 1, "maxProperties": 1},
                "fixed": {"const": 7},
                "other": {"not": {"type": "string"}},
            }
        });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let told = |input: Value| -> Vec<String> {
            let errors = validator.iter_errors(&input).map(|error| tell(&error));
            errors
                .map(|e| format!("{} {} {}", e.pointer, e.code, e.detail))
                .collect()
        };
        for (input, expected) in [
            (json!({"pages": 0}), "/pages minimum must be at least 1"),
            (json!({"pages": 10}), "/pages maximum must be at most 9"),
            (
                json!({"pages": 3}),
                "/pages multiple-of must be a multiple of 2",
            ),
            (
                json!({"hosts": []}),
                "/hosts min-items has less than 1 items",
            ),
            (
                json!({"hosts": [1, 2, 3]}),
                "/hosts max-items has more than 2 items",
            ),
            (
                json!({"hosts": [1, 1]}),
                "/hosts unique-items has an item twice",
            ),
            (json!({"open": 0}), "/open minimum must be more than 0"),
            (json!({"open": 5}), "/open maximum must be less than 5"),
            (
                json!({"tags": {}}),
                "/tags min-properties has less than 1 members",
            ),
            (
                json!({"tags": {"a": 1, "b": 2}}),
                "/tags max-properties has more than 1 members",
            ),
            (json!({"fixed": 8}), "/fixed const must be 7"),
        ] {
            assert_eq!(told(input), [expected]);
        }
    }

    #[test]
    fn what_was_sent_is_not_repeated() {
        let validator = jsonschema::validator_for(&json!({"not": {"type": "string"}})).unwrap();
        let sent = json!("hunter2".repeat(1000));
        let error = validator.validate(&sent).unwrap_err();
        let told = tell(&error);
        assert_eq!(told.code, "schema");
        assert!(!told.detail.contains("hunter2"), "{}", told.detail);
        assert!(
            told.detail.len() <= 300 && !told.detail.is_empty(),
            "{}",
            told.detail
        );
    }
}
