//! The elements of `JUnit` XML, whoever wrote them. What they mean is for the dialects.

use std::collections::BTreeMap;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::ReportError;

/// Text of one element that is kept.
const TEXT: usize = 64 * 1024;

/// Attributes by name.
pub(super) type Attributes = BTreeMap<String, String>;

/// A document.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Whether suites stand in a `testsuites`.
    pub(super) has_root: bool,
    /// The attributes of the outermost element.
    pub(super) root: Attributes,
    /// Every suite, nested ones too.
    pub(super) suites: Vec<Attributes>,
    /// Every case.
    pub(super) cases: Vec<Element>,
    /// Errors that stand in a suite and in no case.
    pub(super) loose: Vec<(String, Mark)>,
    /// Whether a part of it is missing or broken.
    pub(super) cut: bool,
}

/// A `testcase`.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// The names of the suites around it, the innermost last.
    pub(super) suites: Vec<String>,
    /// Its attributes.
    pub(super) attributes: Attributes,
    /// How it ended, by its elements.
    pub(super) marks: Vec<Mark>,
    /// What it wrote.
    pub(super) output: String,
}

/// An element that says how a case ended.
#[derive(Debug, Default, Clone)]
pub(super) struct Mark {
    /// `failure`, `error`, `skipped`, `flakyFailure`…
    pub(super) name: String,
    /// Its `message`.
    pub(super) message: String,
    /// Its `type`.
    pub(super) kind: String,
    /// What stands in it.
    pub(super) text: String,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub(super) fn mark(&self, name: &str) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.name == name)
    }
}

/// Reads a document, and what a program printed around it.
pub(super) fn read(text: &str) -> Result<Document, ReportError> {
    let start = text.find("<testsuite").ok_or(ReportError::Not {
        what: "JUnit XML: it holds no test suite",
    })?;
    let end = ["</testsuites>", "</testsuite>"]
        .iter()
        .filter_map(|tag| Some(text.rfind(tag)? + tag.len()))
        .max();
    let text = &text[start..end.filter(|&end| end > start).unwrap_or(text.len())];
    let mut reader = Reader::from_str(text);
    reader.config_mut().allow_dangling_amp = true;
    let mut state = State::default();
    loop {
        let event = reader.read_event().map_err(|error| ReportError::Xml {
            at: start as u64 + reader.error_position(),
            what: error.to_string(),
        });
        match event {
            Ok(Event::Eof) => break,
            Ok(event) => state.take(event),
            // What came before the fault is known; that something is missing is said.
            Err(_) if !state.document.cases.is_empty() => {
                state.document.cut = true;
                return Ok(state.document);
            }
            Err(error) => return Err(error),
        }
    }
    state.document.cut = state.broken || !state.open.is_empty();
    Ok(state.document)
}

#[derive(Default)]
struct State {
    document: Document,
    open: Vec<String>,
    suites: Vec<String>,
    case: Option<Element>,
    mark: Option<Mark>,
    broken: bool,
}

impl State {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::Empty(tag) => {
                self.begin(&tag);
                self.end();
            }
            Event::End(_) => self.end(),
            Event::Text(text) => self.text(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::CData(text) => self.text(&text.xml_content(XmlVersion::Implicit1_0)),
            Event::GeneralRef(reference) => self.text(&resolved(&reference)),
            _ => {}
        }
    }

    fn begin(&mut self, tag: &BytesStart<'_>) {
        let name = tag.local_name().as_ref().to_owned();
        let (attributes, whole) = attributes(tag);
        self.broken |= !whole;
        let outermost = self.open.is_empty();
        match name.as_str() {
            "testsuites" if outermost => {
                self.document.has_root = true;
                self.document.root = attributes;
            }
            "testsuite" => {
                self.suites
                    .push(attributes.get("name").cloned().unwrap_or_default());
                if outermost {
                    self.document.root = attributes.clone();
                }
                self.document.suites.push(attributes);
            }
            "testcase" if self.case.is_none() => {
                self.case = Some(Element {
                    suites: self.suites.clone(),
                    attributes,
                    ..Element::default()
                });
            }
            _ if self.mark.is_none() && is_mark(&name) => {
                let value = |key: &str| attributes.get(key).cloned().unwrap_or_default();
                self.mark = Some(Mark {
                    message: value("message"),
                    kind: value("type"),
                    text: String::new(),
                    name: name.clone(),
                });
            }
            _ => {}
        }
        self.open.push(name);
    }

    fn end(&mut self) {
        let Some(name) = self.open.pop() else {
            return;
        };
        match name.as_str() {
            "testsuite" => {
                self.suites.pop();
            }
            "testcase" if !self.open.iter().any(|open| open == "testcase") => {
                self.document.cases.extend(self.case.take());
            }
            _ if self.mark.as_ref().is_some_and(|mark| mark.name == name) => {
                let Some(mark) = self.mark.take() else { return };
                if let Some(case) = &mut self.case {
                    case.marks.push(mark);
                } else {
                    let suite = self.suites.last().cloned().unwrap_or_default();
                    self.document.loose.push((suite, mark));
                }
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let Some(open) = self.open.last() else {
            return;
        };
        let slot = match (&mut self.mark, &mut self.case) {
            (Some(mark), _) if mark.name == *open => &mut mark.text,
            (None, Some(case)) if open == "system-out" || open == "system-err" => &mut case.output,
            _ => return,
        };
        if slot.len() < TEXT {
            slot.push_str(text);
        }
    }
}

/// Elements that say how a case ended. `TestReports` once wrote `skip`.
fn is_mark(name: &str) -> bool {
    matches!(
        name,
        "failure"
            | "error"
            | "skipped"
            | "skip"
            | "flakyFailure"
            | "flakyError"
            | "rerunFailure"
            | "rerunError"
    )
}

/// Returns the attributes, and whether all of them could be read. A value that cannot be decoded is taken as it stands: a
/// broken message must not hide a failure.
fn attributes(tag: &BytesStart<'_>) -> (Attributes, bool) {
    let mut found = Attributes::new();
    let mut whole = true;
    for attribute in tag.attributes() {
        let Ok(attribute) = attribute else {
            whole = false;
            continue;
        };
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_or_else(
            |_| attribute.value.as_ref().to_owned(),
            std::borrow::Cow::into_owned,
        );
        found.insert(attribute.key.local_name().as_ref().to_owned(), value);
    }
    (found, whole)
}

fn resolved(reference: &BytesRef<'_>) -> String {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return character.to_string();
    }
    let name: &str = reference;
    resolve_predefined_entity(name).map_or_else(|| format!("&{name};"), str::to_owned)
}
