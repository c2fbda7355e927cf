//! The webhook's `override_body`: templates at every depth of a body, rendered per message.
//!
//! **Invariant:** a template that fails leaves its own text in the body, never half a rendering, and a note says so.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value as Engine};
use runbell_core::{Map, Value};

use crate::template::{BODY, Rewritten, TemplateValue, explain, rewrite};

/// The name of a text's template in its environment.
const NAME: &str = "body";

/// Longest text that is taken for a template, in bytes.
const MAX_SOURCE: usize = 256 << 10;

/// What a body's templates can use.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// `run`: the run itself, all of it.
    pub run: &'a TemplateValue,
    /// `runs`: the [`summaries`] of the run and, for a workflow, its steps.
    pub runs: &'a TemplateValue,
    /// `notification`: the notification, its secrets masked.
    pub notification: &'a TemplateValue,
    /// `message`: the composed text.
    pub message: &'a str,
    /// `severity`.
    pub severity: &'a str,
    /// `state`: the state that caused the message.
    pub state: &'a str,
    /// `project`.
    pub project: &'a str,
}

/// A compiled `override_body`: each text is parsed once, however many messages are rendered.
#[derive(Debug)]
pub struct Body(Node);

enum Node {
    /// No template inside.
    Plain(Value),
    Text(Box<Text>),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

struct Text {
    path: String,
    source: String,
    /// The environment holding the compiled template, or why there is none.
    program: Result<Environment<'static>, String>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A body's texts may hold secrets, such as a token of the target.
        f.write_str(match self {
            Node::Plain(_) => "Plain",
            Node::Text(_) => "Text",
            Node::List(_) => "List",
            Node::Map(_) => "Map",
        })
    }
}

impl Body {
    /// Compiles every text that contains `{{`, `{%` or `{#`. Keys are never templates.
    pub fn compile(template: &Value) -> Body {
        Body(compile(template, &mut "override_body".to_owned()))
    }

    /// The body for one message, and a note for every text that could not be rendered and stays as it was written.
    pub fn render(&self, scope: &Scope<'_>) -> (Value, Vec<String>) {
        let variables = Engine::from_object(Variables(vec![
            ("run", scope.run.engine()),
            ("runs", scope.runs.engine()),
            ("notification", scope.notification.engine()),
            ("message", scope.message.into()),
            ("severity", scope.severity.into()),
            ("state", scope.state.into()),
            ("project", scope.project.into()),
        ]));
        let mut notes = Vec::new();
        (render(&self.0, &variables, &mut notes), notes)
    }

    /// The notes of texts that are no templates at all: each is sent as written for every message.
    pub fn faults(&self) -> Vec<String> {
        let mut found = Vec::new();
        faults(&self.0, &mut found);
        found
    }
}

fn compile(template: &Value, path: &mut String) -> Node {
    let length = path.len();
    let node = match template {
        Value::String(source) if ["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) => {
            Node::Text(Box::new(Text { path: path.clone(), source: source.clone(), program: program(source) }))
        }
        Value::List(items) => Node::List(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| {
                    path.push_str(&format!("[{at}]"));
                    let node = compile(item, path);
                    path.truncate(length);
                    node
                })
                .collect(),
        ),
        Value::Map(map) => Node::Map(
            map.iter()
                .map(|(key, item)| {
                    path.push('.');
                    path.push_str(key);
                    let node = compile(item, path);
                    path.truncate(length);
                    (key.clone(), node)
                })
                .collect(),
        ),
        plain => Node::Plain(plain.clone()),
    };
    match node {
        // Without a template inside the whole branch is one plain value.
        Node::List(nodes) if nodes.iter().all(|node| matches!(node, Node::Plain(_))) => Node::Plain(template.clone()),
        Node::Map(nodes) if nodes.iter().all(|(_, node)| matches!(node, Node::Plain(_))) => {
            Node::Plain(template.clone())
        }
        node => node,
    }
}

fn program(source: &str) -> Result<Environment<'static>, String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("longer than {MAX_SOURCE} bytes"));
    }
    let setting = &*BODY;
    let text = match rewrite(source, &setting.dialect) {
        Ok(Rewritten::Text) => source.to_owned(),
        Ok(Rewritten::Expression(expression)) => format!("{{{{ {expression} }}}}"),
        Ok(Rewritten::Template(text)) => text.into_owned(),
        Err(fault) => return Err(fault.message),
    };
    let mut environment = setting.environment.clone();
    match environment.add_template_owned(NAME, text) {
        Ok(()) => Ok(environment),
        Err(error) => Err(explain(&error, source).1),
    }
}

impl Text {
    fn note(&self, why: &str) -> String {
        let (at, why) = match why.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
            Some((line, why)) => (format!(" at line {line}"), why),
            None => (String::new(), why),
        };
        format!("{}: template error{at}: {why}; sent as written", self.path)
    }
}

fn render(node: &Node, variables: &Engine, notes: &mut Vec<String>) -> Value {
    match node {
        Node::Plain(value) => value.clone(),
        Node::List(nodes) => Value::List(nodes.iter().map(|node| render(node, variables, notes)).collect()),
        Node::Map(nodes) => {
            Value::Map(nodes.iter().map(|(key, node)| (key.clone(), render(node, variables, notes))).collect())
        }
        Node::Text(text) => {
            let rendered = match &text.program {
                Ok(environment) => environment
                    .get_template(NAME)
                    .and_then(|template| template.render(variables.clone()))
                    .map_err(|error| explain(&error, &text.source).1),
                Err(why) => Err(why.clone()),
            };
            Value::String(rendered.unwrap_or_else(|why| {
                notes.push(text.note(&why));
                text.source.clone()
            }))
        }
    }
}

fn faults(node: &Node, found: &mut Vec<String>) {
    match node {
        Node::Plain(_) => {}
        Node::Text(text) => found.extend(text.program.as_ref().err().map(|why| text.note(why))),
        Node::List(nodes) => nodes.iter().for_each(|node| faults(node, found)),
        Node::Map(nodes) => nodes.iter().for_each(|(_, node)| faults(node, found)),
    }
}

/// What `{{ runs }}` shows of one run: `project`, `name`, `host`, and `status` with `state` and then the error or,
/// without one, the results. What the run does not have is left out.
pub fn summary(run: &Value) -> Value {
    let mut summary = Map::new();
    let mut status = Map::new();
    let take = |into: &mut Map, key: &str, path: &[&str]| {
        let found = run.at(path).filter(|value| **value != Value::Null);
        into.extend(found.map(|value| (key.to_owned(), value.clone())));
    };
    take(&mut summary, "project", &["metadata", "project"]);
    take(&mut summary, "name", &["metadata", "name"]);
    take(&mut summary, "host", &["metadata", "labels", "host"]);
    take(&mut status, "state", &["status", "state"]);
    for key in ["error", "results"] {
        if let Some(value) = run.at(&["status", key]).filter(|value| value.is_truthy()) {
            status.insert(key.to_owned(), value.clone());
            break;
        }
    }
    summary.insert("status".to_owned(), Value::Map(status));
    Value::Map(summary)
}

/// The list of [`summary`] that a body knows as `runs`.
pub fn summaries<'r>(runs: impl IntoIterator<Item = &'r Value>) -> Value {
    Value::List(runs.into_iter().map(summary).collect())
}

/// A body's variables by name.
#[derive(Debug)]
struct Variables(Vec<(&'static str, Engine)>);

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Engine) -> Option<Engine> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Engine> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Engine::from(*name)).collect())
    }
}
