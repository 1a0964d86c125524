//! The OpenAPI 3.1 document of the JSON API: the table of verbs, with the schemas of their types.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::verb::KEYS;
use super::{AdHoc, Request, VERBS, Verb};

/// Before the path of each verb.
pub const BASE: &str = "/api/v1";

/// An argument of a verb.
#[derive(Debug, Clone)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// What kind of value it has.
    pub shape: Shape,
    /// Whether there is none without it.
    pub required: bool,
    /// Its schema.
    schema: Value,
}

/// What kind of value an argument has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text.
    Text,
    /// A whole number.
    Number,
    /// True or false.
    Flag,
    /// A list of texts.
    List,
}

impl Shape {
    /// For people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a whole number",
            Self::Flag => "true or false",
            Self::List => "a list of texts",
        }
    }
}

/// The arguments of a verb, by name.
pub fn arguments(verb: &Verb) -> &'static [Argument] {
    ARGUMENTS.arguments.get(verb.name).map_or(&[], Vec::as_slice)
}

/// The document, as it is served and committed (docs/openapi.json).
pub fn text() -> &'static str {
    &TEXT
}

static ARGUMENTS: LazyLock<Arguments> = LazyLock::new(Arguments::read);
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = serde_json::to_string_pretty(&document()).unwrap_or_default();
    text.push('\n');
    text
});

/// What all verbs take.
struct Arguments {
    arguments: BTreeMap<&'static str, Vec<Argument>>,
    /// Types that arguments have.
    types: Map<String, Value>,
}

impl Arguments {
    fn read() -> Self {
        let mut settings = SchemaSettings::draft2020_12();
        settings.definitions_path = TYPES.into();
        let mut generator = SchemaGenerator::new(settings);
        let all = Request::json_schema(&mut generator).to_value();
        let types = generator.take_definitions(true);
        let of = |verb: &'static Verb| {
            let found = variant(&all, verb.tags, &types);
            (verb.name, found.map(|schema| of_variant(&schema)).unwrap_or_default())
        };
        let arguments = VERBS.iter().map(of).collect();
        let families = ["TeamVerb", "RoomVerb", "UploadVerb", "PeerVerb", "Invite"];
        let queries = ["UserQuery", "RoomQuery", "AuditQuery"];
        let inner = [families.as_slice(), &queries].concat();
        let types = types.into_iter().filter(|(name, _)| !inner.contains(&name.as_str()));
        Self { arguments, types: types.collect() }
    }
}

/// The schema of the variant that the tags choose.
fn variant(all: &Value, tags: &[&str], types: &Map<String, Value>) -> Option<Value> {
    let mut schema = all.clone();
    for (key, tag) in KEYS.iter().zip(tags) {
        let chosen = |one: &&Value| {
            one.pointer(&format!("/properties/{key}/const")).and_then(Value::as_str) == Some(tag)
        };
        let one = schema.get("oneOf")?.as_array()?.iter().find(chosen)?.clone();
        schema = resolved(one, types);
    }
    Some(schema)
}

/// With what it refers to in the place of the reference, beside what stands there.
fn resolved(mut schema: Value, types: &Map<String, Value>) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str);
    let Some(of) = name.and_then(|name| name.rsplit('/').next()).and_then(|name| types.get(name))
    else {
        return schema;
    };
    for part in ["oneOf", "properties", "required"] {
        match (schema.get_mut(part), of.get(part)) {
            (Some(Value::Object(own)), Some(Value::Object(more))) => {
                own.extend(more.iter().map(|(name, it)| (name.clone(), it.clone())));
            }
            (Some(Value::Array(own)), Some(Value::Array(more))) => own.extend(more.clone()),
            (None, Some(it)) => {
                schema.as_object_mut().map(|own| own.insert(part.to_owned(), it.clone()));
            }
            _ => {}
        }
    }
    schema
}

fn of_variant(schema: &Value) -> Vec<Argument> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten().filter(|(name, _)| !KEYS.contains(&&***name));
    properties
        .map(|(name, schema)| Argument {
            name: name.clone(),
            shape: shape(schema),
            required: required.contains(&&**name),
            schema: schema.clone(),
        })
        .collect()
}

fn shape(schema: &Value) -> Shape {
    let is = |wanted: &str| match schema.get("type") {
        Some(Value::String(one)) => one == wanted,
        Some(Value::Array(some)) => some.iter().any(|one| one == wanted),
        _ => false,
    };
    match () {
        () if is("integer") => Shape::Number,
        () if is("boolean") => Shape::Flag,
        () if is("array") => Shape::List,
        () => Shape::Text,
    }
}

/// The whole document.
fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = TYPES.into();
    let mut generator = SchemaGenerator::new(settings);
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for verb in VERBS {
        let gives = (verb.gives)(&mut generator).to_value();
        let path = paths.entry(format!("{BASE}{}", verb.path)).or_default();
        path.insert(verb.method.as_str().to_lowercase(), operation(verb, &gives));
    }
    let mut types = ARGUMENTS.types.clone();
    types.extend(generator.take_definitions(true));
    types.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stonechat: the operator's API",
            "description": ABOUT,
            "version": "1",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:5445", "description": "admin.listen, if nothing else is set" }],
        "security": [{ "token": [] }],
        "tags": tags(),
        "paths": paths,
        "components": {
            "schemas": types,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "made by `stonechat token add NAME --role ROLE`",
                },
            },
            "responses": {
                "Problem": {
                    "description": "It was not done: what was wrong, and what to do",
                    "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
                },
            },
        },
    })
}

fn operation(verb: &'static Verb, gives: &Value) -> Value {
    let in_path: Vec<_> = verb.in_path().collect();
    let (path, others): (Vec<&Argument>, Vec<&Argument>) =
        arguments(verb).iter().partition(|one| in_path.contains(&&*one.name));
    let mut parameters: Vec<Value> = path.iter().map(|one| parameter(one, "path")).collect();
    let mut operation = Map::new();
    let mut put = |name: &str, value: Value| drop(operation.insert(name.to_owned(), value));
    put("operationId", Value::from(verb.name));
    put("summary", Value::from(verb.summary));
    put("description", Value::from(described(verb)));
    put("tags", json!([tag(verb)]));
    put("x-stonechat-role", Value::from(verb.least.as_str()));
    put("x-stonechat-command", Value::from(verb.cli));
    let ad_hoc = match verb.ad_hoc {
        AdHoc::Node(node) => json!({ "node": node }),
        AdHoc::None(why) => json!({ "none": why }),
    };
    put("x-stonechat-ad-hoc", ad_hoc);
    let content = json!({ "application/json": { "schema": gives } });
    let responses = json!({
        "200": { "description": "It was done", "content": content },
        "default": { "$ref": "#/components/responses/Problem" },
    });
    put("responses", responses);
    if verb.method.has_body() && !others.is_empty() {
        put("requestBody", body(&others));
    } else {
        parameters.extend(others.iter().map(|one| parameter(one, "query")));
    }
    if !parameters.is_empty() {
        put("parameters", Value::Array(parameters));
    }
    Value::Object(operation)
}

/// An argument in the path or the query.
fn parameter(argument: &Argument, place: &str) -> Value {
    let mut schema = argument.schema.clone();
    let told = schema.as_object_mut().and_then(|schema| schema.remove("description"));
    json!({
        "name": argument.name,
        "in": place,
        "required": argument.required,
        "description": told.unwrap_or_default(),
        "schema": schema,
    })
}

/// The arguments in a body.
fn body(arguments: &[&Argument]) -> Value {
    let properties: Map<String, Value> =
        arguments.iter().map(|one| (one.name.clone(), one.schema.clone())).collect();
    let required: Vec<_> =
        arguments.iter().filter(|one| one.required).map(|one| &one.name).collect();
    let schema = json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    json!({ "required": !required.is_empty(), "content": { "application/json": { "schema": schema } } })
}

fn described(verb: &Verb) -> String {
    let who = verb.least.as_str();
    let ad_hoc = match verb.ad_hoc {
        AdHoc::Node(node) => format!("In a client: the command `{node}`."),
        AdHoc::None(why) => format!("In a client: none, as {why}."),
    };
    format!("For {who}s. On the command line: `stonechat {}`. {ad_hoc}", verb.cli)
}

/// What verbs are about: the first part of their paths.
fn tag(verb: &Verb) -> &'static str {
    verb.path.split('/').nth(1).unwrap_or_default()
}

fn tags() -> Vec<Value> {
    let mut all: Vec<&str> = Vec::new();
    for verb in VERBS {
        if !all.contains(&tag(verb)) {
            all.push(tag(verb));
        }
    }
    all.into_iter().map(|name| json!({ "name": name })).collect()
}

/// RFC 9457 §3
fn problem() -> Value {
    let text = |told: &str| json!({ "type": "string", "description": told });
    json!({
        "type": "object",
        "properties": {
            "type": text("what kind of problem it is: urn:stonechat:problem:…"),
            "title": text("the same for people"),
            "status": { "type": "integer", "description": "the status of the answer" },
            "detail": text("what was wrong"),
            "todo": text("what to do about it"),
        },
        "required": ["type", "title", "status", "detail", "todo"],
    })
}

const TYPES: &str = "/components/schemas";
const ABOUT: &str = "What the operator of a Stonechat server can do, as JSON. Lists take `max` and, where they can be \
    long, `after` or `before`, and say in `next` how to go on. What is only looked at has an ETag. PUT and DELETE may be \
    sent again. Arguments of GET and DELETE are in the query, those of POST and PUT in a JSON body. Errors are problems as \
    in RFC 9457, with what to do in `todo`. See docs/api.md.";

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_document_is_as_the_code_says() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&file, text()).unwrap();
        }
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            committed == text(),
            "docs/openapi.json is old: UPDATE_DOCS=1 cargo test --lib openapi"
        );
    }

    #[test]
    fn each_verb_takes_what_its_path_names() {
        for verb in VERBS {
            let known = arguments(verb);
            let (all, types) = {
                let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
                let all = Request::json_schema(&mut generator).to_value();
                (all, generator.take_definitions(true))
            };
            assert!(variant(&all, verb.tags, &types).is_some(), "{} has no variant", verb.name);
            for name in verb.in_path() {
                let argument = known.iter().find(|one| one.name == name);
                assert!(argument.is_some_and(|one| one.required), "{}: {name}", verb.name);
            }
        }
    }

    /// The table, the enum of requests and the schemas speak of the same verbs.
    #[test]
    fn a_request_that_a_schema_describes_is_the_verb() {
        for verb in VERBS {
            let mut given = Map::new();
            for argument in arguments(verb).iter().filter(|one| one.required) {
                given.insert(argument.name.clone(), example(argument));
            }
            let request =
                verb.request(given).unwrap_or_else(|error| panic!("{}: {error}", verb.name));
            assert_eq!(request.name(), verb.name);
            assert_eq!(request.changes().is_some(), verb.changes, "{}", verb.name);
        }
    }

    fn example(argument: &Argument) -> Value {
        match (argument.shape, &*argument.name) {
            (Shape::Number, _) => Value::from(1),
            (Shape::Flag, _) => Value::Bool(true),
            (Shape::List, _) => json!(["a"]),
            (Shape::Text, "role") => Value::from("operator"),
            (Shape::Text, "which") => Value::from("motd"),
            (Shape::Text, _) => Value::from("a"),
        }
    }

    #[test]
    fn what_refers_to_something_finds_it() {
        let document = document();
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(!all.is_empty());
        for reference in all {
            let pointer = reference.strip_prefix('#').expect("inside");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    fn references<'a>(value: &'a Value, all: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                all.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, all));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, all)),
            _ => {}
        }
    }
}
