//! The two environments: one for conditions, one for texts. Each is built once per process.

use std::sync::LazyLock;

use minijinja::value::{Rest, ValueOrKwargs};
use minijinja::{AutoEscape, Environment, State, UndefinedBehavior, Value};

use super::compare::Number;
use super::json::{Style, to_json};
use super::{checks, filters, methods, operators, print};
use crate::syntax::Dialect;

/// The fuel of one condition: 40,000 steps of the engine, or 2.5 MB of texts; at most about 10 ms.
const CONDITION_FUEL: u64 = 40_000;

/// The fuel of one text: a hundred times a condition's.
const TEXT_FUEL: u64 = 100 * CONDITION_FUEL;

/// How deeply macros and blocks may call each other. A macro counts four times.
const RECURSION: usize = 120;

/// jinja2's filters, without `random`, `urlize`, `wordwrap` and `xmlattr`, which the engine does not have.
const FILTERS: &[&str] = &[
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "pprint",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
];

/// The engine's own filters beside them.
const MORE_FILTERS: [&str; 6] = ["bool", "chain", "lines", "pluralize", "split", "zip"];

const TESTS: &[&str] = &[
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
];

/// Tests of the engine that jinja2 does not have.
const MORE_TESTS: [&str; 4] = ["endingwith", "int", "safe", "startingwith"];

/// An environment and the names that its templates may use.
pub(crate) struct Setting {
    pub(crate) environment: Environment<'static>,
    pub(crate) dialect: Dialect,
}

/// For conditions: jinja2's own filters and tests, little fuel.
pub(crate) static CONDITION: LazyLock<Setting> = LazyLock::new(|| {
    let dialect = Dialect { filters: FILTERS, tests: TESTS, extensions: false };
    let mut environment = common(CONDITION_FUEL, Style::Jinja2, &dialect);
    for name in MORE_FILTERS {
        environment.remove_filter(name);
    }
    for name in MORE_TESTS {
        environment.remove_test(name);
    }
    Setting { environment, dialect }
});

/// For texts: everything the engine has, more fuel, plain JSON.
pub(crate) static TEXT: LazyLock<Setting> = LazyLock::new(|| {
    let dialect = Dialect {
        filters: FILTERS.iter().copied().chain(MORE_FILTERS).collect::<Vec<_>>().leak(),
        tests: TESTS.iter().copied().chain(MORE_TESTS).collect::<Vec<_>>().leak(),
        extensions: true,
    };
    Setting { environment: common(TEXT_FUEL, Style::Plain, &dialect), dialect }
});

fn common(fuel: u64, style: Style, dialect: &Dialect) -> Environment<'static> {
    let mut environment = Environment::new();
    minijinja_contrib::add_to_environment(&mut environment);
    environment.remove_global("debug");
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print::format);
    environment.set_unknown_method_callback(methods::call);
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(RECURSION);
    environment.add_filter("__format", minijinja::filters::format);
    environment.add_filter("format", |state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>| {
        methods::format(state, value, &args.into_values())
    });
    environment.add_filter("tojson", move |state: &mut State<'_, '_>, value: &Value, args: Rest<ValueOrKwargs>| {
        let args = args.into_values();
        let indent = match args.first() {
            Some(args) if args.is_kwargs() => args.get_attr("indent")?,
            Some(indent) => indent.clone(),
            None => Value::UNDEFINED,
        };
        let indent = match Number::of(&indent) {
            Some(Number::Int(spaces)) => usize::try_from(spaces).ok(),
            _ => None,
        };
        to_json(state, value, style, indent)
    });
    operators::add_to(&mut environment);
    filters::add_to(&mut environment);
    checks::add_to(&mut environment, dialect.filters, dialect.tests);
    environment
}

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn every_listed_filter_and_test_is_there() {
        for setting in [&CONDITION, &TEXT] {
            for name in setting.dialect.filters {
                let probe = setting.environment.render_str(&format!("{{{{ '{name}' is filter }}}}"), ());
                assert_eq!(probe.ok().as_deref(), Some("True"), "filter {name}");
            }
            for name in setting.dialect.tests {
                let probe = setting.environment.render_str(&format!("{{{{ '{name}' is test }}}}"), ());
                assert_eq!(probe.ok().as_deref(), Some("True"), "test {name}");
            }
        }
    }
}
