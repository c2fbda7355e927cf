//! Conditions: whether a notification is sent, decided by a template over the run and the notification.
//!
//! **Invariant:** for every condition and every run [`Condition::evaluate`] returns within milliseconds; it never
//! panics and never aborts the process. A condition that cannot be decided is [`Evaluation::Ignored`], and the
//! notification is sent.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Object, ValueKind};
use minijinja::{Environment, Expression, Value};

use crate::engine::{CONDITION, TemplateValue};
use crate::fault::Fault;
use crate::syntax::{Rewritten, rewrite};

/// The longest source of a condition, in bytes. A longer one could exhaust the stack where expressions are compiled.
pub const MAX_SOURCE: usize = 4096;

/// The name of a condition's template in its environment.
const NAME: &str = "condition";

/// A condition, compiled once. Cheap to clone and to share between threads.
#[derive(Clone)]
pub struct Condition(Arc<Inner>);

struct Inner {
    source: Box<str>,
    program: Program,
}

enum Program {
    /// Nothing to evaluate: the text itself decides.
    Fixed(bool),
    /// Exactly one `{{ … }}`, decided without printing.
    Expression(Expression<'static, 'static>),
    /// Anything else. The environment holds the one compiled template.
    Template(Environment<'static>),
    Broken(Fault),
}

/// The result of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evaluation {
    /// Send.
    True,
    /// Do not send.
    False,
    /// Send, because the condition could not be evaluated; [`Fault::cause`] says why in one word, [`Fault`]'s Display
    /// in a line.
    Ignored(Fault),
}

impl Evaluation {
    /// Whether the notification is sent: always, unless the condition is false.
    pub fn sends(&self) -> bool {
        *self != Evaluation::False
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.0.source).finish()
    }
}

impl Condition {
    /// Compiles a condition. Never fails: a broken one keeps its [`fault`](Condition::fault), and every evaluation is
    /// ignored with it.
    ///
    /// An empty source is always true. A source is at most [`MAX_SOURCE`] bytes long.
    pub fn compile(source: &str) -> Condition {
        let program = program(source).unwrap_or_else(Program::Broken);
        Condition(Arc::new(Inner { source: source.into(), program }))
    }

    /// The source it was compiled from.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The fault found while compiling, if any: such a condition is always ignored.
    pub fn fault(&self) -> Option<&Fault> {
        match &self.0.program {
            Program::Broken(fault) => Some(fault),
            _ => None,
        }
    }

    /// Evaluates the condition for one run and one notification, whose secrets the caller has masked.
    ///
    /// False iff the rendered text, trimmed and in lower case, is one of `0 no n f false off`.
    pub fn evaluate(&self, run: &TemplateValue, notification: &TemplateValue) -> Evaluation {
        let variables = || Value::from_object(Variables { run: run.engine(), notification: notification.engine() });
        let result = match &self.0.program {
            Program::Fixed(holds) => Ok(*holds),
            Program::Broken(fault) => return Evaluation::Ignored(fault.clone()),
            Program::Expression(expression) => expression.eval(variables()).map(|value| is_true(&value)),
            Program::Template(environment) => environment
                .get_template(NAME)
                .and_then(|template| template.render(variables()))
                .map(|text| !is_false_text(&text)),
        };
        match result {
            Ok(true) => Evaluation::True,
            Ok(false) => Evaluation::False,
            Err(error) => Evaluation::Ignored(Fault::of(&error, &self.0.source)),
        }
    }
}

fn program(source: &str) -> Result<Program, Fault> {
    if source.len() > MAX_SOURCE {
        return Err(Fault::too_long(MAX_SOURCE));
    }
    let setting = &*CONDITION;
    let compiled = match rewrite(trim(source), &setting.dialect)? {
        Rewritten::Text => Ok(Program::Fixed(!is_false_text(source))),
        Rewritten::Expression(expression) => {
            setting.environment.compile_expression_owned(expression).map(Program::Expression)
        }
        Rewritten::Template(text) => {
            let mut environment = setting.environment.clone();
            environment.add_template_owned(NAME, text.into_owned()).map(|()| Program::Template(environment))
        }
    };
    compiled.map_err(|error| Fault::of_compiler(&error, source))
}

/// `str.strip()`, which knows four separators more than Rust.
fn trim(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || ('\x1c'..='\x1f').contains(&character))
}

fn is_false_text(text: &str) -> bool {
    let text = trim(text);
    text.len() <= 5 && ["0", "no", "n", "f", "false", "off"].iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// Decides as the text would if `value` were printed.
fn is_true(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Bool => value.is_true(),
        ValueKind::Number if value.is_integer() => value.is_true(),
        ValueKind::String => !is_false_text(value.as_str().unwrap_or_default()),
        // Nothing else prints as one of the words: a missing value prints nothing, zero as a float prints `0.0`.
        _ => true,
    }
}

/// The two variables a condition has.
#[derive(Debug)]
struct Variables {
    run: Value,
    notification: Value,
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "run" => Some(self.run.clone()),
            "notification" => Some(self.notification.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Cause;

    fn evaluate(source: &str) -> Evaluation {
        let nothing = TemplateValue::new(&runbell_core::Value::Map(Default::default()));
        Condition::compile(source).evaluate(&nothing, &nothing)
    }

    #[test]
    fn conditions_cross_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        shared::<Condition>();
    }

    #[test]
    fn the_words_that_do_not_send() {
        for word in
            ["0", "no", "n", "f", "false", "off", "  False\n", "OFF", "{{ 0 }}", "{{ 'No' }}", "{% if 1 %}n{% endif %}"]
        {
            assert_eq!(evaluate(word), Evaluation::False, "{word}");
        }
        for word in ["", " ", "none", "00", "0.0", "{{ 0.0 }}", "{{ none }}", "{{ missing }}", "{{ [] }}"] {
            assert_eq!(evaluate(word), Evaluation::True, "{word}");
        }
    }

    #[test]
    fn faults_are_known_without_evaluating() {
        let fault = |source: &str| Condition::compile(source).fault().map(|fault| (fault.cause, fault.to_string()));
        for (source, cause, why) in [
            ("{{ 1 > }}", Cause::Syntax, "line 1: an expression is expected"),
            ("a\n{{ 1|nope }}", Cause::Syntax, "line 2: unknown filter `nope`"),
            ("{{ 1 is nope }}", Cause::Syntax, "line 1: unknown test `nope`"),
            ("{% do 1 %}", Cause::Syntax, "line 1: unknown tag `do`"),
            ("{% include 'x' %}", Cause::Error, "line 1: there are no other templates to use"),
        ] {
            assert_eq!(fault(source), Some((cause, why.to_owned())), "{source}");
        }
        let too_long = "longer than 4096 bytes".to_owned();
        assert_eq!(fault(&"x".repeat(4097)), Some((Cause::Syntax, too_long)));
    }

    #[test]
    fn failures_on_this_run_are_ignored() {
        for (source, why) in [
            ("{{ run.missing > 1 }}", "line 1: a missing value has no order"),
            ("{{ 'a' < 1 }}", "line 1: values of these types have no order"),
            ("{{ run.a.b }}", "line 1: a missing value is used"),
            ("\n\n{{ nope() }}x", "line 1: unknown function `nope`"),
            ("x\n\n{{ nope() }}x", "line 3: unknown function `nope`"),
        ] {
            let Evaluation::Ignored(fault) = evaluate(source) else { panic!("{source} is decided") };
            assert_eq!((fault.cause, fault.to_string()), (Cause::Error, why.to_owned()), "{source}");
        }
        let too_much = evaluate("{{ 'a' * 999999999 }}");
        assert!(matches!(too_much, Evaluation::Ignored(Fault { cause: Cause::Fuel, .. })), "{too_much:?}");
    }
}
