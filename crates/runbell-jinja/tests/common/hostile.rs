//! Conditions that try to take all the time, memory or stack there is.

use runbell_core::{Map, Value};

/// `piece` repeated up to the longest source that is accepted, inside `{{ … }}`.
fn row(before: &str, piece: &str, after: &str) -> String {
    let room = 4096 - "{{  }}".len() - before.len() - after.len();
    format!("{{{{ {before}{}{after} }}}}", piece.repeat(room / piece.len()))
}

/// `open` and `close` nested around `1` as deeply as the longest source allows.
fn nested(open: &str, close: &str) -> String {
    let depth = (4096 - 7) / (open.len() + close.len());
    format!("{{{{ {}1{} }}}}", open.repeat(depth), close.repeat(depth))
}

/// A run of about a megabyte: one long text, many results, long lists, deep nesting.
pub(crate) fn large_run() -> Value {
    let text = |length: usize| Value::String("lorem ipsum, <b>dolor</b> ".repeat(length / 25));
    let mut results = Map::new();
    results.insert("text".into(), text(600_000));
    results.insert("as".into(), Value::String("a".repeat(100_000)));
    results.insert("numbers".into(), Value::List((0..20_000).map(Value::Int).collect()));
    results
        .insert("texts".into(), Value::List((0..3_000).map(|at| Value::from(format!("text number {at}"))).collect()));
    let rows = (0..3_000).map(|at| {
        Value::Map(Map::from_iter([("k".into(), Value::Int(at % 7)), ("v".into(), Value::Float(at as f64 / 3.0))]))
    });
    results.insert("rows".into(), Value::List(rows.collect()));
    for at in 0..5_000 {
        results.insert(format!("result_{at}"), Value::Float(at as f64 * 0.1));
    }
    let deep = (0..190).fold(Value::Int(1), |inner, _| Value::List(vec![inner]));
    results.insert("deep".into(), deep);
    let status = Map::from_iter([("state".into(), "completed".into()), ("results".into(), Value::Map(results))]);
    let metadata = Map::from_iter([("name".into(), "large".into()), ("project".into(), "p".into())]);
    Value::Map(Map::from_iter([("metadata".into(), Value::Map(metadata)), ("status".into(), Value::Map(status))]))
}

/// The table: the name of each condition, and its source.
pub(crate) fn conditions() -> Vec<(String, String)> {
    let mut table: Vec<(String, String)> = Vec::new();
    for (open, close) in
        [("(", ")"), ("[", "]"), ("(1,", ")"), ("{1:", "}"), ("range(", ")"), ("x[", "]"), ("x(a=", ")")]
    {
        table.push((format!("nested {open}"), nested(open, close)));
    }
    for piece in ["not ", "-", "+", "- -", "not(", "1 if 1 else ", "{"] {
        table.push((format!("leading {piece}"), row("", piece, "1")));
    }
    for piece in [
        ".a",
        "[0]",
        "[:]",
        "[::-1]",
        "()",
        "|abs",
        "|list",
        "|reverse",
        "|string",
        "|tojson",
        "|pprint",
        "|escape",
        "+1",
        "-1",
        "*1",
        "/1",
        "//1",
        "%7",
        "**1",
        "~1",
        " and 1",
        " or 0",
        "<1",
        "==1",
        " in []",
        " not in []",
        " if 1",
        " if 0 else 1",
        " is odd",
        " is divisibleby 2",
        ",1",
        "|default(1)",
        "|map('abs')",
    ] {
        table.push((format!("row of {piece}"), row("1", piece, "")));
        table.push((format!("list, row of {piece}"), row("run.status.results.numbers", piece, "")));
        table.push((format!("text, row of {piece}"), row("run.status.results.text", piece, "")));
        table.push((format!("run, row of {piece}"), row("run", piece, "")));
    }
    for piece in [
        "{% if 1 %}",
        "{% for a in [1] %}",
        "{% with %}",
        "{% set a %}",
        "{% macro m() %}",
        "{% block b %}",
        "{% raw %}",
        "{{",
        "{#",
    ] {
        table.push((format!("statements {piece}"), piece.repeat(4096 / piece.len())));
    }
    for (open, close) in [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for a in [1] %}", "{% endfor %}"),
        ("{% set a %}", "{% endset %}"),
        ("{% filter upper %}", "{% endfilter %}"),
    ] {
        let depth = 4090 / (open.len() + close.len());
        table.push((format!("nested {open}"), format!("{}x{}", open.repeat(depth), close.repeat(depth))));
    }
    let elifs = |count: usize| format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(count));
    table.push(("row of elif".into(), elifs(330)));
    table.push(("row of elif, as many as are taken".into(), elifs(100)));
    let r = "run.status.results";
    for (name, source) in [
        ("list * number", "{{ [0] * 99999999999 }}"),
        ("list * number, compared", "{{ [0] * 99999999 == [0] * 99999999 }}"),
        ("number * list", "{{ 999999999 * (1, 2) }}"),
        ("text * number", "{{ 'a' * 99999999999 }}"),
        ("empty text * number", "{{ '' * 99999999999 }}"),
        ("format width", "{{ '{:>999999999}'.format(1) }}"),
        ("format width from argument", "{{ '{:{}}'.format(1, 999999999) }}"),
        ("percent width", "{{ '%999999999d' % 1 }}"),
        ("percent width from argument", "{{ '%*d'|format(999999999, 1) }}"),
        ("percent precision", "{{ '%.999999999f'|format(1.5) }}"),
        ("format many times", "{{ ('{0}' * 1000).format(run.status.results.text) }}"),
        ("percent many times", "{{ ('%s' * 1000)|format(run) }}"),
        ("center", "{{ 'a'|center(999999999) }}"),
        ("ljust", "{{ 'a'.ljust(999999999) }}"),
        ("zfill", "{{ 'a'.zfill(99999999999999) }}"),
        ("indent", "{{ 'a\nb'|indent(999999999) }}"),
        ("indent many lines", "{{ ('\n' * 20000)|indent(20000, true, true) }}"),
        ("truncate", "{{ run.status.results.text|truncate(99999999) }}"),
        ("batch", "{{ [1]|batch(999999999, 'x') }}"),
        ("slice filter", "{{ [1]|slice(999999999, 'x') }}"),
        ("round", "{{ 1.5|round(999999999) }}{{ 1.5|round(-999999999) }}"),
        ("power", "{{ 9 ** 9 ** 9 }}"),
        ("power of powers", "{{ 2 ** 9999999999999 }}"),
        ("range", "{{ range(99999999)|list }}"),
        ("range sum", "{{ range(99999)|sum }}"),
        ("range join", "{{ range(99999)|join('x' * 1000) }}"),
        ("loop in loop", "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}false"),
        ("loop over loops", "{% for a in range(99999) %}{{ a }}{{ loop.index }}{{ loop.last }}{% endfor %}"),
        ("print the run", "{{ run }}"),
        ("print the run, text around", "x{{ run }}"),
        ("run ~ run", "{{ run ~ run ~ run ~ run }}"),
        ("run as text", "{{ (run|string)|length }}"),
        ("run as JSON", "{{ run|tojson }}"),
        ("run as JSON, indented", "{{ run|tojson(indent=999999) }}"),
        ("run printed pretty", "{{ run|pprint }}"),
        ("results as JSON, many times", "{{ [run, run, run, run, run, run]|tojson|length }}"),
        ("run == run", "{{ run == run }}"),
        ("run in lists", "{{ run in [run.status, run, run] }}"),
        ("runs unique", "{{ [run, run, run]|unique|list }}"),
        ("run as a key", "{{ {run: 1} }}"),
        ("run as an index", "{{ {'a': 1}[run] }}"),
        ("run sorted", "{{ [run, run]|sort }}"),
        ("upper", "{{ run.status.results.text|upper|lower|title|capitalize|length }}"),
        ("escape", "{{ run.status.results.text|escape|escape|escape|length }}"),
        ("urlencode", "{{ run.status.results.text|urlencode|urlencode|length }}"),
        ("striptags", "{{ run.status.results.text|striptags|length }}"),
        ("wordcount", "{{ run.status.results.text|wordcount }}"),
        ("replace by more", "{{ run.status.results.as|replace('a', 'a' * 1000)|length }}"),
        ("replace nothing", "{{ run.status.results.as|replace('', 'b' * 1000)|length }}"),
        ("replace method", "{{ run.status.results.as.replace('a', 'a' * 1000)|length }}"),
        ("replace method, nothing", "{{ run.status.results.as.replace('', 'a' * 1000)|length }}"),
        ("split", "{{ run.status.results.text.split(' ')|length }}"),
        ("split letters", "{{ run.status.results.as.split('a')|length }}"),
        ("list of letters", "{{ run.status.results.text|list|length }}"),
        ("sort letters", "{{ run.status.results.text|sort|first }}"),
        ("sort numbers", "{{ run.status.results.numbers|sort(reverse=true)|first }}"),
        ("sort texts", "{{ run.status.results.texts|sort|sort(reverse=true)|first }}"),
        ("sort rows", "{{ run.status.results.rows|sort(attribute='v')|first }}"),
        ("group rows", "{{ run.status.results.rows|groupby('k')|length }}"),
        ("unique texts", "{{ run.status.results.texts|unique|list|length }}"),
        ("max", "{{ run.status.results.numbers|max }}{{ run.status.results.texts|max }}"),
        ("dictsort", "{{ run.status.results|dictsort|length }}"),
        ("dictsort by value", "{{ run.status.results|dictsort(by='value')|length }}"),
        ("items", "{% for k, v in run.status.results.items() %}{{ k }}{{ v }}{% endfor %}"),
        ("join texts", "{{ run.status.results.texts|join(run.status.results.text) }}"),
        ("join method", "{{ run.status.results.text.join(run.status.results.texts) }}"),
        ("map", "{{ run.status.results.rows|map(attribute='v')|map('string')|map('upper')|join }}"),
        ("select", "{{ run.status.results.numbers|select('in', run.status.results.numbers)|list|length }}"),
        ("reject", "{{ run.status.results.numbers|reject('eq', run)|list|length }}"),
        ("count in list", "{{ run.status.results.numbers.count(run) + run.status.results.texts.count('a') }}"),
        (
            "deep value",
            "{{ run.status.results.deep }}{{ run.status.results.deep|string }}{{ run.status.results.deep|tojson }}",
        ),
        (
            "deep value compared",
            "{{ run.status.results.deep == run.status.results.deep or run.status.results.deep < run.status.results.deep }}",
        ),
        (
            "text doubled in a loop",
            "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a|length }}",
        ),
        (
            "text added in a loop",
            "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a|length }}",
        ),
        (
            "list doubled in a loop",
            "{% set ns = namespace(a=[1]) %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a|length }}",
        ),
        (
            "list nested in a loop",
            "{% set ns = namespace(a=[]) %}{% for i in range(99999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}",
        ),
        (
            "dict nested in a loop",
            "{% set ns = namespace(a={}) %}{% for i in range(99999) %}{% set ns.a = {'a': ns.a} %}{% endfor %}{{ ns.a }}",
        ),
        (
            "tuple nested in a loop",
            "{% set ns = namespace(a=()) %}{% for i in range(99999) %}{% set ns.a = (ns.a, ns.a) %}{% endfor %}{{ ns.a }}",
        ),
        (
            "lists widened in a loop",
            "{% set ns = namespace(a=[]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
        ),
        (
            "lists widened in a loop, JSON",
            "{% set ns = namespace(a=[]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|tojson }}",
        ),
        (
            "lists widened, compared",
            "{% set ns = namespace(a=[], b=[]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
        ),
        ("namespace in itself", "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}"),
        ("namespace in itself, JSON", "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns|tojson }}"),
        (
            "namespace in itself, compared",
            "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns == ns }}{{ ns is eq(ns) }}",
        ),
        ("namespace in a dict", "{% set ns = namespace() %}{% set ns.a = dict(b=ns) %}{{ ns.a }}{{ ns.a ~ '' }}"),
        (
            "namespaces in a row",
            "{% set o = namespace(a=1) %}{% for i in range(99999) %}{% set n = namespace(a=o.a) %}{% set o.a = n %}{% endfor %}{{ o }}",
        ),
        (
            "lazy slices in a loop",
            "{% set ns = namespace(a=range(1000)) %}{% for i in range(99999) %}{% set ns.a = ns.a|reverse %}{% endfor %}{{ ns.a|list }}",
        ),
        ("macro calls itself", "{% macro m(a) %}{{ m(a) }}{% endmacro %}{{ m(1) }}"),
        ("macro calls itself twice", "{% macro m(a) %}{{ m(a) }}{{ m(a) }}{% endmacro %}{{ m(1) }}"),
        (
            "macro calls itself, filtered",
            "{% macro m(a) %}{{ [a]|map('string')|map('upper')|list }}{{ m(a) }}{% endmacro %}{{ m(1) }}",
        ),
        (
            "macros call each other",
            "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        ),
        ("macro calls its caller", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}"),
        (
            "macro branches",
            "{% macro m(n) %}{% if n > 0 %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
        ),
        ("recursive loop", "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}"),
        ("recursive loop, wide", "{% for a in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}"),
        ("block calls itself", "{% block b %}{{ self.b() }}{% endblock %}"),
        ("cycler", "{{ cycler(*range(99999)) }}"),
        ("dict of keywords", "{{ dict(**run.status.results)|length }}"),
        ("many arguments", "{{ namespace(**run.status.results) }}"),
        (
            "many arguments by position",
            "{% macro m() %}{{ varargs|length }}{% endmacro %}{{ m(*run.status.results.numbers) }}",
        ),
        ("format with the run", "{{ '{0.status}{0[status]}'.format(run) }}"),
        ("percent with names", "{{ '%(status)s%(metadata)s'|format(**run) }}"),
        ("huge integer", "{{ 99999999999999999999999999999999999999999999999999 > 1 }}"),
        ("text as integer", "{{ ('9' * 100000)|int > 1 }}"),
        ("text as float", "{{ ('9' * 100000)|float > 1 }}"),
        ("set of a large block", "{% set a %}{{ run }}{{ run }}{% endset %}{{ a }}{{ a }}"),
        ("filter block", "{% filter upper %}{{ run.status.results.text }}{{ run.status.results.text }}{% endfilter %}"),
        ("lipsum", "{{ lipsum(n=99999) }}"),
        ("slice with huge bounds", "{{ run.status.results.numbers[-99999999999999:99999999999999:99999999999999] }}"),
        ("slice backwards", "{{ run.status.results.text[::-1][::-1] }}"),
    ] {
        table.push((name.to_owned(), source.to_owned()));
    }
    for piece in [
        "'a' in R.text",
        "R.text == R.text",
        "R == R",
        "R.text|length",
        "(R.text ~ '')",
        "R.text[1:2]",
        "R.text|upper",
        "{R: 1}",
        "{R.text: 1}",
        "R.text.split('x')",
        "R|length",
        "R|first",
        "R.text.count('ipsum')",
        "R.text.find('zz')",
        "R.text|striptags",
        "R.text is upper",
        "R.text|int",
        "R.numbers|last",
        "R.numbers|first",
        "R.text is sameas R.text",
        "R.text.isdigit()",
        "R.text.title()",
        "R|string",
        "R|items",
        "R.values()",
        "R.items()|first",
        "R.text|trim('l')",
        "R.text.strip('a')",
        "R.text|first",
        "R.text|last",
        "R.text|reverse",
        "R.text|wordcount",
        "R.text|tojson",
        "R.text|e",
        "R.text is lower",
        "R.text|capitalize",
        "R.text.startswith('x')",
        "R.numbers|sum",
        "R.text.upper()",
        "R.text.splitlines()",
        "R.text.rfind('zz')",
        "R|list|length",
        "R.text|filesizeformat",
        "R.text < R.text",
        "[R.text] == [R.text]",
        "R.text|urlencode",
        "R.text|center(9)",
        "R.text.isalpha()",
        "R.text.swapcase()",
        "R.numbers|min",
        "R.rows|map(attribute='v')|sum",
        "R.text is in(R.texts)",
        "R.text is mapping",
        "R.text|float",
        "R.text|default('')",
        "R.text|safe",
        "R.text|replace('q', 'w')",
        "R.text|title",
        "R.text|truncate(9)",
        "R.text|indent",
        "R.text|list",
        "R.text.islower()",
        "R.text.rsplit('q')",
        "'%s'|format(R.text)",
        "'{}'.format(R.text)",
    ] {
        let piece = piece.replace('R', "r.a");
        let start = format!("{{% set r = namespace(a={r}) %}}");
        let count = (4096 - start.len() - 12) / (piece.len() + 4);
        table.push((format!("many {piece}"), format!("{start}{{{{ [{}] }}}}", vec![piece.as_str(); count].join(","))));
    }
    table
}
