//! Texts with templates inside, such as those of the webhook's `override_body`.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Value};

use crate::engine::{TEXT, TemplateValue};
use crate::fault::Fault;
use crate::syntax::{Rewritten, rewrite};

/// The name of a text's template in its environment.
const NAME: &str = "text";

/// The longest source, in bytes.
const MAX_SOURCE: usize = 256 << 10;

/// A text, compiled once. All of minijinja's filters are known, beside jinja2's.
pub struct Text {
    source: Box<str>,
    /// The environment that holds the one compiled template.
    environment: Environment<'static>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A text may hold secrets, such as a token of its target.
        f.write_str("Text")
    }
}

impl Text {
    /// Whether `source` holds a tag of a template at all: `{{`, `{%` or `{#`.
    pub fn is_template(source: &str) -> bool {
        ["{{", "{%", "{#"].iter().any(|mark| source.contains(mark))
    }

    /// Compiles a text.
    ///
    /// # Errors
    /// A source that jinja2 would refuse, that includes other templates, or that exceeds 256 KiB.
    pub fn compile(source: &str) -> Result<Text, Fault> {
        if source.len() > MAX_SOURCE {
            return Err(Fault::too_long(MAX_SOURCE));
        }
        let setting = &*TEXT;
        let rewritten = match rewrite(source, &setting.dialect)? {
            Rewritten::Text => source.to_owned(),
            Rewritten::Expression(expression) => format!("{{{{ {expression} }}}}"),
            Rewritten::Template(text) => text.into_owned(),
        };
        let mut environment = setting.environment.clone();
        environment.add_template_owned(NAME, rewritten).map_err(|error| Fault::of_compiler(&error, source))?;
        Ok(Text { source: source.into(), environment })
    }

    /// The source it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders the text.
    ///
    /// # Errors
    /// A template that fails on these variables, or that exceeds its fuel: about 4 million steps or 250 MB of texts.
    pub fn evaluate(&self, variables: &Variables) -> Result<String, Fault> {
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(variables.0.clone()))
            .map_err(|error| Fault::of(&error, &self.source))
    }
}

/// The variables of texts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Variables(Value);

impl Variables {
    /// Variables by name; the caller has masked secrets.
    pub fn new(variables: impl IntoIterator<Item = (&'static str, TemplateValue)>) -> Self {
        let named = variables.into_iter().map(|(name, value)| (name, value.engine())).collect();
        Variables(Value::from_object(Named(named)))
    }
}

#[derive(Debug)]
struct Named(Vec<(&'static str, Value)>);

impl Object for Named {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.0.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| Value::from(*name)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Cause;

    #[test]
    fn faults_name_cause_and_line() {
        let nothing = Variables::new([("message", TemplateValue::text("m"))]);
        let evaluate = |source: &str| Text::compile(source).and_then(|text| text.evaluate(&nothing));
        let fault = |source: &str| evaluate(source).map_err(|fault| (fault.cause, fault.line, fault.message));
        assert_eq!(evaluate("{{ message }}!").as_deref(), Ok("m!"));
        for (source, cause, line, message) in [
            ("a\n{{ 1 > }}", Cause::Syntax, Some(2), "an expression is expected"),
            ("{% import 'x' as x %}", Cause::Error, Some(1), "there are no other templates to use"),
            ("\n\n{{ message.a.b }}", Cause::Error, Some(3), "a missing value is used"),
            ("{{ 'a' * 999999999 }}", Cause::Fuel, Some(1), "it does more work than it may"),
            (&"x".repeat(MAX_SOURCE + 1), Cause::Syntax, None, "longer than 262144 bytes"),
        ] {
            assert_eq!(fault(source), Err((cause, line, message.to_owned())));
        }
    }

    #[test]
    fn debug_shows_no_source() {
        assert_eq!(format!("{:?}", Text::compile("token {{ 1 }}")), "Ok(Text)");
    }
}
