//! Draws what is wrong with a document: file, line, column, the lines themselves, and what to write instead.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::path::Path;
use crate::failure::{Failure, Kind};

/// One mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong; lower case, names the field.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Where it is, as steps from the root.
    pub path: Path,
    /// Where it is, in bytes of the text; `None` where there is no text, as with flags.
    pub span: Option<Range<usize>>,
    /// Another place that belongs to the mistake, and what to say about it.
    pub related: Option<(Range<usize>, String)>,
}

impl Problem {
    /// A mistake at a place in the text.
    pub fn new(path: Path, span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, path, span, related: None }
    }

    /// Adds what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A text and what messages call it.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// A file name, or the flag that the values came from.
    pub name: &'a str,
    /// The whole text; empty where there is none.
    pub text: &'a str,
}

impl Source<'_> {
    /// All mistakes as one failure, in the order of the text.
    pub fn failure(&self, mut problems: Vec<Problem>) -> Failure {
        problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
        let message = match problems.as_slice() {
            [only] => format!("{}: {}", self.position(only), Self::title(only)),
            many => format!("{} has {} mistakes", self.name, many.len()),
        };
        let failure = Failure::new(Kind::Config, message).hint("`etcdless schema` prints every field with its type");
        problems.iter().fold(failure, |failure, problem| failure.detail(self.render(problem)))
    }

    /// `cluster.yaml:7:5`, or the name where there is no text.
    fn position(&self, problem: &Problem) -> String {
        problem.span.as_ref().map_or_else(
            || self.name.to_owned(),
            |span| {
                let (line, column) = line_and_column(self.text, span.start);
                format!("{}:{line}:{column}", self.name)
            },
        )
    }

    /// The message; where no text shows the field, with the field's path.
    fn title(problem: &Problem) -> String {
        let path = problem.path.to_string();
        if problem.span.is_some() || problem.message.contains(&path) {
            problem.message.clone()
        } else {
            format!("{path}: {}", problem.message)
        }
    }

    /// Block texts span many lines; pointing at the first is enough.
    fn first_line(&self, span: &Range<usize>) -> Range<usize> {
        let line = self.text.get(span.clone()).and_then(|text| text.find('\n'));
        span.start..line.map_or(span.end, |length| span.start + length)
    }

    fn render(&self, problem: &Problem) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(Self::title(problem)));
        if let Some(span) = &problem.span {
            let mut snippet = Snippet::source(self.text).path(self.name);
            snippet = snippet.annotation(AnnotationKind::Primary.span(self.first_line(span)));
            if let Some((span, label)) = &problem.related {
                let context = AnnotationKind::Context.span(self.first_line(span));
                snippet = snippet.annotation(context.label(label.as_str()));
            }
            group = group.element(snippet);
        }
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        Renderer::plain().render(&[group])
    }
}

/// Line and column of a byte, from 1; columns count characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The byte at a line and column, both from 1; columns count characters.
pub(super) fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let text = "a\nüb: x\n";
        assert_eq!(line_and_column(text, 5), (2, 3));
        assert_eq!(offset(text, 2, 3), 5);
        assert_eq!(line_and_column(text, text.len()), (3, 1));
    }
}
