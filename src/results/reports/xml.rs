//! The elements of `JUnit` XML, whoever wrote them. What they mean is for the dialects.

use std::collections::{BTreeMap, BTreeSet};

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::words::{self, Child, Word};
use super::{CaseStatus, ReportError, one_line, shortened};

/// Text of one element that is kept.
const TEXT: usize = 64 * 1024;

/// How deep elements stand in one another in a report that somebody means.
const DEPTH: usize = 256;

/// How many attributes an element has in a report that somebody means.
const ATTRIBUTES: usize = 256;

/// How many attributes, suites and marks there may be for each test that may be read.
const PARTS: usize = 16;

/// How much is shown of a word that is not known.
pub(super) const WORD: usize = 40;

/// Attributes by name, in small letters.
pub(super) type Attributes = BTreeMap<String, String>;

/// A document.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Every `testsuites` and `testsuite`, in the order in which they begin.
    pub(super) suites: Vec<Suite>,
    /// Every case.
    pub(super) cases: Vec<Element>,
    /// What says that something went wrong in a suite and in no case, with the place of the suite.
    pub(super) loose: Vec<(Option<usize>, Mark)>,
    /// Elements of suites that are not known.
    pub(super) unknown: BTreeSet<String>,
    /// Whether a part of it is missing or broken.
    pub(super) cut: bool,
    /// Whether it has more tests than may be read.
    pub(super) beyond: bool,
}

/// A `testsuites` or a `testsuite`.
#[derive(Debug, Default)]
pub(super) struct Suite {
    /// The place of the one around it.
    pub(super) around: Option<usize>,
    /// Whether it is a `testsuites`.
    pub(super) is_root: bool,
    /// Its attributes.
    pub(super) attributes: Attributes,
}

/// A `testcase`.
#[derive(Debug, Default)]
pub(super) struct Element {
    /// The place of the suite that it stands in.
    pub(super) suite: Option<usize>,
    /// Its attributes.
    pub(super) attributes: Attributes,
    /// How it ended, by its elements.
    pub(super) marks: Vec<Mark>,
    /// Its elements that are not known, or say something that is not known.
    pub(super) unknown: Vec<String>,
    /// What it wrote.
    pub(super) output: String,
}

/// An element that says how a case ended.
#[derive(Debug, Default, Clone)]
pub(super) struct Mark {
    /// `failure`, `error`, `skipped`, `flakyFailure`…
    pub(super) name: String,
    /// What that says; none as long as it is not known.
    pub(super) status: Option<CaseStatus>,
    /// Its `message`.
    pub(super) message: String,
    /// Its `type`.
    pub(super) kind: String,
    /// What stands in it.
    pub(super) text: String,
}

impl Document {
    /// Returns an attribute of the outermost suite.
    pub(super) fn root(&self, name: &str) -> Option<&str> {
        let root = self.suites.first()?;
        root.attributes.get(name).map(String::as_str)
    }

    /// Returns whether suites stand in a `testsuites`.
    pub(super) fn has_root(&self) -> bool {
        self.suites.first().is_some_and(|suite| suite.is_root)
    }

    /// Returns the name of a suite.
    pub(super) fn name(&self, suite: Option<usize>) -> &str {
        let suite = suite.and_then(|at| self.suites.get(at));
        let name = suite.and_then(|suite| suite.attributes.get("name"));
        name.map_or("", String::as_str)
    }

    /// Returns the places of a suite and of all that it stands in.
    pub(super) fn around(&self, suite: Option<usize>) -> impl Iterator<Item = usize> {
        std::iter::successors(suite, |&at| self.suites.get(at)?.around)
    }
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub(super) fn mark(&self, status: CaseStatus) -> Option<&Mark> {
        self.marks.iter().find(|mark| mark.status == Some(status))
    }
}

/// Reads a document of so many tests at most, and what a program printed around it.
pub(super) fn read(text: &str, tests: usize) -> Result<Document, ReportError> {
    let start = places(text, "<testsuite").next().ok_or(ReportError::Not {
        what: "JUnit XML: it holds no test suite",
    })?;
    let begins = |text: &str| {
        let mut tags = ["<testsuite", "<testcase"].into_iter();
        tags.any(|tag| places(text, tag).next().is_some())
    };
    let end = ["</testsuites>", "</testsuite>"]
        .iter()
        .filter_map(|tag| Some(places(text, tag).next_back()? + tag.len()))
        .max()
        // Behind the last end there is what a program printed, or the beginning of what was cut off.
        .filter(|&end| !begins(&text[end..]))
        .unwrap_or(text.len());
    let mut reader = Reader::from_str(&text[start..end]);
    reader.config_mut().allow_dangling_amp = true;
    let mut state = State::default();
    loop {
        let event = reader.read_event().map_err(|error| ReportError::Xml {
            at: start as u64 + reader.error_position(),
            what: error.to_string(),
        });
        match event {
            Ok(Event::Eof) => break,
            Ok(event) if state.open.len() < DEPTH => state.take(event),
            Ok(_) => {
                state.document.cut = true;
                return Ok(state.document);
            }
            // What came before the fault is known; that something is missing is said.
            Err(_) if !state.document.cases.is_empty() => {
                state.document.cut = true;
                return Ok(state.document);
            }
            Err(error) => return Err(error),
        }
        if state.document.cases.len() > tests || state.parts > tests.saturating_mul(PARTS) {
            state.document.beyond = true;
            return Ok(state.document);
        }
    }
    state.document.cut = state.broken || !state.open.is_empty();
    Ok(state.document)
}

/// Returns where a tag stands, in capitals or not.
fn places(text: &str, tag: &'static str) -> impl DoubleEndedIterator<Item = usize> {
    text.match_indices('<')
        .map(|(at, _)| at)
        .filter(move |&at| {
            let found = text.as_bytes().get(at..at + tag.len());
            found.is_some_and(|found| found.eq_ignore_ascii_case(tag.as_bytes()))
        })
}

#[derive(Default)]
struct State {
    document: Document,
    /// The elements that are open, each with what it is.
    open: Vec<(String, Open)>,
    suite: Option<usize>,
    cases: Vec<Element>,
    mark: Option<Mark>,
    /// Elements and attributes so far.
    parts: usize,
    broken: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Suite,
    Case,
    Mark,
    Other,
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
        self.parts += 1 + attributes.len();
        self.broken |= !whole;
        let open = match name.to_ascii_lowercase().as_str() {
            // What stands in a mark is its text, whatever it is called.
            _ if self.mark.is_some() => Open::Other,
            kind @ ("testsuites" | "testsuite") if self.cases.is_empty() => {
                self.document.suites.push(Suite {
                    around: self.suite,
                    is_root: kind == "testsuites",
                    attributes,
                });
                self.suite = Some(self.document.suites.len() - 1);
                Open::Suite
            }
            "testcase" => {
                self.cases.push(Element {
                    suite: self.suite,
                    attributes,
                    ..Element::default()
                });
                Open::Case
            }
            _ => self.child(&name, &attributes),
        };
        self.open.push((name, open));
    }

    fn child(&mut self, name: &str, attributes: &Attributes) -> Open {
        let value = |key: &str| attributes.get(key).cloned().unwrap_or_default();
        let status = match words::child(name) {
            Child::Mark(status) => Some(status),
            Child::Says => None,
            Child::Harmless => return Open::Other,
            Child::Unknown => {
                let parent = self.open.last().map(|(_, open)| *open);
                match (self.cases.last_mut(), parent) {
                    (Some(case), Some(Open::Case)) => case.unknown.push(format!("<{name}>")),
                    (None, Some(Open::Suite)) => {
                        self.document.unknown.insert(name.to_owned());
                    }
                    _ => {}
                }
                return Open::Other;
            }
        };
        self.mark = Some(Mark {
            status,
            message: value("message"),
            kind: value("type"),
            text: value("value"),
            name: name.to_owned(),
        });
        Open::Mark
    }

    fn end(&mut self) {
        match self.open.pop() {
            Some((_, Open::Suite)) => {
                let suite = self.suite.and_then(|at| self.document.suites.get(at));
                self.suite = suite.and_then(|suite| suite.around);
            }
            Some((_, Open::Case)) => self.document.cases.extend(self.cases.pop()),
            Some((_, Open::Mark)) => {
                if let Some(mark) = self.mark.take() {
                    self.marked(mark);
                }
            }
            Some((_, Open::Other)) | None => {}
        }
    }

    fn marked(&mut self, mut mark: Mark) {
        if mark.status.is_none() {
            match words::word(&mark.text) {
                Some(Word::Ended(status)) => mark.status = Some(status),
                Some(Word::Nothing) => return,
                None => {
                    let said = format!(
                        "<{}> `{}`",
                        mark.name,
                        shortened(&one_line(&mark.text), WORD)
                    );
                    if let Some(case) = self.cases.last_mut() {
                        case.unknown.push(said);
                    } else {
                        self.document.unknown.insert(said);
                    }
                    return;
                }
            }
        }
        match self.cases.last_mut() {
            Some(case) => case.marks.push(mark),
            None => self.document.loose.push((self.suite, mark)),
        }
    }

    fn text(&mut self, text: &str) {
        let Some((name, open)) = self.open.last() else {
            return;
        };
        let is_output = name == "system-out" || name == "system-err";
        let slot = match (open, &mut self.mark, self.cases.last_mut()) {
            (Open::Mark, Some(mark), _) => &mut mark.text,
            (Open::Other, None, Some(case)) if is_output => &mut case.output,
            _ => return,
        };
        if slot.len() < TEXT {
            slot.push_str(text);
        }
    }
}

/// Returns the attributes, and whether all of them could be read. A value that cannot be decoded is taken as it stands: a
/// broken message must not hide a failure.
fn attributes(tag: &BytesStart<'_>) -> (Attributes, bool) {
    let mut found = Attributes::new();
    let mut whole = true;
    // Each is held against all before it.
    for (number, attribute) in tag.attributes().enumerate() {
        if number == ATTRIBUTES {
            return (found, false);
        }
        let Ok(attribute) = attribute else {
            whole = false;
            continue;
        };
        let value = attribute.normalized_value(XmlVersion::Implicit1_0);
        let value = value.map_or_else(
            |_| attribute.value.as_ref().to_owned(),
            std::borrow::Cow::into_owned,
        );
        found.insert(
            attribute.key.local_name().as_ref().to_ascii_lowercase(),
            value,
        );
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
