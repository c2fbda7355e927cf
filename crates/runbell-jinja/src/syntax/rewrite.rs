//! Rewrites a jinja2 template into one that the engine decides as jinja2 would.
//!
//! Text, raw blocks and comments stay; the expressions inside tags go through the parser. A template that jinja2
//! refuses at compile time gives a [`Fault`] here.

use std::borrow::Cow;

use super::dialect::Dialect;
use super::lexer;
use super::parser::Parser;
use super::token::TokenKind;
use crate::fault::{Cause, Fault};

/// A rewritten template.
#[derive(Debug)]
pub(crate) enum Rewritten<'s> {
    /// No tag at all.
    Text,
    /// Exactly one `{{ … }}`: the expression inside.
    Expression(String),
    /// Anything else.
    Template(Cow<'s, str>),
}

/// Rewrites `source`.
///
/// # Errors
/// The first [`Fault`] that jinja2 would find at compile time, or the use of another template, which always fails
/// later.
pub(crate) fn rewrite<'s>(source: &'s str, dialect: &Dialect) -> Result<Rewritten<'s>, Fault> {
    let Some(first) = next_tag(source, 0) else { return Ok(Rewritten::Text) };
    let mut out = String::with_capacity(source.len() * 2);
    let mut at = 0;
    let mut next = Some(first);
    let mut blocks = Blocks::default();
    while let Some(start) = next {
        out.push_str(&source[at..start]);
        at = match source.as_bytes()[start + 1] {
            b'{' => {
                let (inner, end, ending) = print_tag(source, start, dialect, blocks.ifs > 0)?;
                if start == 0 && end == source.len() {
                    return Ok(Rewritten::Expression(inner));
                }
                let opening = if source[start + 2..].starts_with('-') { "{{- " } else { "{{ " };
                out.extend([opening, &inner, &newlines(&source[start..end]), ending]);
                end
            }
            b'#' => comment(source, start, &mut out)?,
            _ => match raw_block(source, start)? {
                Some(end) => {
                    out.push_str(&source[start..end]);
                    end
                }
                None => statement_tag(source, start, dialect, &mut blocks, &mut out)?,
            },
        };
        next = next_tag(source, at);
    }
    out.push_str(&source[at..]);
    Ok(Rewritten::Template(Cow::Owned(out)))
}

/// How deeply blocks may nest. The engine reads them by recursion; Python allows twenty loops in each other.
const MAX_BLOCKS: usize = 40;

/// How many `elif` a template may have: the engine nests each in the one before.
const MAX_ELIFS: usize = 100;

/// The blocks that are open.
#[derive(Default)]
struct Blocks {
    open: usize,
    ifs: usize,
    elifs: usize,
}

impl Blocks {
    /// Counts a statement; `None` when it is one block or `elif` too many.
    fn enter(&mut self, word: &str, assigns: bool) -> Option<()> {
        match word {
            "set" if assigns => {}
            "if" | "for" | "with" | "set" | "macro" | "call" | "filter" | "autoescape" | "block" => self.open += 1,
            word if word.starts_with("end") => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        match word {
            "if" => self.ifs += 1,
            "endif" => self.ifs = self.ifs.saturating_sub(1),
            "elif" => self.elifs += 1,
            _ => {}
        }
        (self.open <= MAX_BLOCKS && self.elifs <= MAX_ELIFS).then_some(())
    }
}

/// The offset at which the next tag opens.
fn next_tag(source: &str, from: usize) -> Option<usize> {
    let bytes = source.as_bytes();
    (from..bytes.len().saturating_sub(1)).find(|at| bytes[*at] == b'{' && matches!(bytes[at + 1], b'{' | b'%' | b'#'))
}

/// The line breaks of a tag, kept so that the lines behind it keep their numbers.
fn newlines(tag: &str) -> String {
    tag.chars().filter(|character| *character == '\n').collect()
}

/// The offset at which a tag's content begins, behind `{{` or `{%` and its sign.
fn content(source: &str, start: usize) -> usize {
    start + 2 + usize::from(source[start + 2..].starts_with(['-', '+']))
}

/// `{{ … }}`: the rewritten expression, the offset behind the tag, and the closing delimiter.
fn print_tag(
    source: &str,
    start: usize,
    dialect: &Dialect,
    forgiven: bool,
) -> Result<(String, usize, &'static str), Fault> {
    let tag = lexer::tag(source, content(source, start), "}}")?;
    let mut parser = Parser::new(source, &tag.tokens, tag.end, dialect);
    parser.tuple(true, None)?;
    Ok((parser.finish(forgiven)?, tag.end, if tag.trims { " -}}" } else { " }}" }))
}

fn comment(source: &str, start: usize, out: &mut String) -> Result<usize, Fault> {
    let end = match source[start + 2..].find("#}") {
        Some(found) => start + 2 + found + 2,
        None => return Err(Fault::syntax(source, start, "the comment is not closed")),
    };
    out.push_str(&source[start..end]);
    Ok(end)
}

/// The offset behind the raw block that opens at `start`; `None` when no raw block does.
fn raw_block(source: &str, start: usize) -> Result<Option<usize>, Fault> {
    let word_at = |at: usize, word: &str| {
        let rest = source[content(source, at)..].trim_start().strip_prefix(word)?.trim_start();
        let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).strip_prefix("%}")?;
        Some(source.len() - rest.len())
    };
    let Some(mut from) = word_at(start, "raw") else { return Ok(None) };
    while let Some(found) = source[from..].find("{%") {
        if let Some(end) = word_at(from + found, "endraw") {
            return Ok(Some(end));
        }
        from += found + 2;
    }
    Err(Fault::syntax(source, start, "the raw block is not closed"))
}

fn statement_tag(
    source: &str,
    start: usize,
    dialect: &Dialect,
    blocks: &mut Blocks,
    out: &mut String,
) -> Result<usize, Fault> {
    let tag = lexer::tag(source, content(source, start), "%}")?;
    let mut parser = Parser::new(source, &tag.tokens, tag.end, dialect);
    let word = parser.name()?;
    let assigns = tag.tokens.iter().any(|token| token.kind == TokenKind::Op("="));
    blocks.enter(word, assigns).ok_or_else(|| Fault::syntax(source, start, "blocks are nested too deeply"))?;
    let trims = source[start + 2..].starts_with('-');
    if word == "print" {
        parser.tuple(true, None)?;
        let inner = parser.finish(blocks.ifs > 0)?;
        out.extend([if trims { "{{- " } else { "{{ " }, &inner, &newlines(&source[start..tag.end])]);
        out.push_str(if tag.trims { " -}}" } else { " }}" });
        return Ok(tag.end);
    }
    parser.out.push_str(word);
    parser.out.push(' ');
    statement(&mut parser, word, dialect, source, start)?;
    let inner = parser.finish(blocks.ifs > 0)?;
    out.extend([if trims { "{%- " } else { "{% " }, &inner, &newlines(&source[start..tag.end])]);
    out.push_str(if tag.trims { " -%}" } else { " %}" });
    Ok(tag.end)
}

/// Rewrites the part of a statement behind its word.
fn statement(
    parser: &mut Parser<'_, '_>,
    word: &str,
    dialect: &Dialect,
    source: &str,
    start: usize,
) -> Result<(), Fault> {
    match word {
        "if" | "elif" => parser.tuple(false, None),
        "for" => for_loop(parser),
        "set" => set(parser),
        "with" => with(parser),
        "macro" => {
            let name = parser.name()?;
            parser.push_variable(name);
            signature(parser)
        }
        "call" => {
            if parser.is_op("(") {
                signature(parser)?;
                parser.out.push(' ');
            }
            parser.expression(true)
        }
        "filter" => {
            let from = parser.out.len();
            parser.filter(from)?;
            while parser.skip_op("|") {
                parser.filter(from)?;
            }
            Ok(())
        }
        "autoescape" => parser.expression(true),
        "block" | "endblock" => {
            while !parser.is_done() {
                let name = parser.name()?;
                parser.out.push_str(name);
                parser.out.push(' ');
            }
            Ok(())
        }
        "else" | "endif" | "endfor" | "endset" | "endwith" | "endmacro" | "endcall" | "endfilter" | "endautoescape" => {
            Ok(())
        }
        "break" | "continue" if dialect.extensions => Ok(()),
        "do" if dialect.extensions => parser.tuple(true, None),
        // There are no other templates, so these always fail when they are reached.
        "extends" | "include" | "import" | "from" => {
            Err(Fault { cause: Cause::Error, ..Fault::syntax(source, start, "there are no other templates to use") })
        }
        other => Err(Fault::syntax(source, start, format!("unknown tag `{other}`"))),
    }
}

/// The part of a loop behind `for`.
fn for_loop(parser: &mut Parser<'_, '_>) -> Result<(), Fault> {
    target(parser, |parser| parser.is_name("in"))?;
    parser.skip_name("in");
    parser.out.push_str(" in __iter(");
    parser.tuple(false, Some("recursive"))?;
    parser.out.push(')');
    if parser.skip_name("if") {
        parser.out.push_str(" if ");
        parser.expression(true)?;
    }
    if parser.skip_name("recursive") {
        parser.out.push_str(" recursive");
    }
    Ok(())
}

/// The part of an assignment or a block behind `set`.
fn set(parser: &mut Parser<'_, '_>) -> Result<(), Fault> {
    let attribute = target(parser, |parser| parser.is_op("=") || parser.is_op("|") || parser.is_done())?;
    if parser.skip_op("=") {
        // A namespace can grow with every turn of a loop.
        parser.out.push_str(if attribute { "= __keep(" } else { "= (" });
        parser.tuple(true, None)?;
        parser.out.push(')');
        return Ok(());
    }
    while parser.skip_op("|") {
        parser.filter(0)?;
    }
    Ok(())
}

/// The assignments behind `with`.
fn with(parser: &mut Parser<'_, '_>) -> Result<(), Fault> {
    while !parser.is_done() {
        target(parser, |parser| parser.is_op("="))?;
        parser.expect_op("=")?;
        parser.out.push('=');
        parser.expression(true)?;
        if !parser.skip_op(",") {
            break;
        }
        parser.out.push(',');
    }
    Ok(())
}

/// The target of an assignment, up to the token at which `ends` holds. Returns whether it is a namespace's attribute.
fn target(parser: &mut Parser<'_, '_>, ends: impl Fn(&Parser<'_, '_>) -> bool) -> Result<bool, Fault> {
    let mut attribute = false;
    let mut empty = true;
    while !ends(parser) {
        match parser.peek() {
            Some(TokenKind::Name(_)) if attribute => {
                let name = parser.name()?;
                parser.out.push_str(name);
            }
            Some(TokenKind::Name(_)) => {
                let name = parser.name()?;
                parser.push_variable(name);
            }
            Some(TokenKind::Op(sign @ ("," | "(" | ")" | "."))) => {
                parser.out.push_str(sign);
                attribute |= *sign == ".";
                parser.skip_op(sign);
            }
            _ => return Err(parser.fault("a name to assign to is expected")),
        }
        empty = false;
    }
    if empty { Err(parser.fault("a name to assign to is expected")) } else { Ok(attribute) }
}

/// `(a, b=1)` of a macro.
fn signature(parser: &mut Parser<'_, '_>) -> Result<(), Fault> {
    parser.expect_op("(")?;
    parser.out.push('(');
    while !parser.is_op(")") {
        let name = parser.name()?;
        parser.push_variable(name);
        if parser.skip_op("=") {
            parser.out.push('=');
            parser.expression(true)?;
        }
        if !parser.skip_op(",") {
            break;
        }
        parser.out.push(',');
    }
    parser.out.push(')');
    parser.expect_op(")")
}
