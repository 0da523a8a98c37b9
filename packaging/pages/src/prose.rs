//! A page out of Markdown, as far as docs/ uses it.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

use crate::Page;

/// The largest number of characters of a title that has a line of its own.
const TITLE: usize = 60;

/// Returns the text of a page.
pub(crate) fn page(page: &Page, markdown: &str) -> String {
    let Page { name, section, about, source: _ } = page;
    let mut writer = Writer::new();
    writer.roff.control("TH", [name.to_uppercase().as_str(), section, "", "conductor", "Conductor"]);
    writer.roff.control("SH", ["NAME"]);
    writer.roff.text([roman(format!("{name} - {about}"))]);
    writer.roff.control("SH", ["DESCRIPTION"]);
    writer.read(markdown);
    writer.roff.render()
}

/// Returns the text of sections that stand behind others.
pub(crate) fn sections(markdown: &str) -> String {
    let mut writer = Writer::new();
    writer.read(markdown);
    writer.roff.to_roff()
}

struct Writer {
    roff: Roff,
    /// Of the paragraph that is being read.
    words: Vec<Inline>,
    state: State,
}

#[derive(Default)]
struct State {
    heading: bool,
    code: bool,
    strong: bool,
    /// Names of the table's columns.
    columns: Vec<String>,
    in_head: bool,
    row: Vec<Vec<Inline>>,
}

impl Writer {
    fn new() -> Self {
        Self { roff: Roff::new(), words: Vec::new(), state: State::default() }
    }

    fn read(&mut self, markdown: &str) {
        Parser::new_ext(markdown, Options::ENABLE_TABLES).for_each(|event| self.event(event));
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.state.code => self.lines(&text),
            Event::Text(text) if self.state.strong => self.words.push(bold(text.into_string())),
            Event::Text(text) => self.words.push(roman(text.into_string())),
            Event::Code(text) => self.words.push(bold(text.into_string())),
            Event::SoftBreak | Event::HardBreak => self.words.push(roman(" ")),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        match tag {
            Tag::Heading { .. } => self.state.heading = true,
            Tag::CodeBlock(_) => {
                self.state.code = true;
                self.roff.control("PP", []);
                self.roff.control("RS", ["4"]);
                self.roff.control("nf", []);
            }
            Tag::Strong | Tag::Emphasis => self.state.strong = true,
            Tag::Table(_) => self.state.columns.clear(),
            Tag::TableHead => self.state.in_head = true,
            Tag::Item => drop(self.roff.control("IP", ["\\(bu", "2"])),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => {
                self.state.heading = false;
                let title = text(&std::mem::take(&mut self.words));
                // The first names the page, which has its name already.
                match level as usize {
                    1 => {}
                    2 => drop(self.roff.control("SH", [title.to_uppercase().as_str()])),
                    _ => drop(self.roff.control("SS", [title.as_str()])),
                }
            }
            TagEnd::CodeBlock => {
                self.state.code = false;
                self.roff.control("fi", []);
                self.roff.control("RE", []);
            }
            TagEnd::Strong | TagEnd::Emphasis => self.state.strong = false,
            TagEnd::Paragraph => {
                self.roff.control("PP", []);
                self.flush();
            }
            TagEnd::Item => self.flush(),
            TagEnd::TableHead => {
                self.state.in_head = false;
                self.state.columns = std::mem::take(&mut self.state.row).iter().map(|cell| text(cell)).collect();
            }
            TagEnd::TableCell => self.state.row.push(std::mem::take(&mut self.words)),
            TagEnd::TableRow => self.row(),
            _ => {}
        }
    }

    /// Writes a row as an entry: what it is about, what that means, then the other columns with their names.
    fn row(&mut self) {
        let columns = self.state.columns.clone();
        let mut cells = std::mem::take(&mut self.state.row).into_iter().zip(&columns);
        let Some((mut first, title)) = cells.next() else { return };
        let cells: Vec<_> = cells.filter(|(cell, _)| !cell.is_empty()).collect();
        if title == "key" {
            return self.key(first, cells);
        }
        let has_names = cells.len() > 1;
        let mut words = Vec::new();
        for (number, (cell, column)) in cells.into_iter().enumerate() {
            words.extend((number > 0).then(|| roman("; ")));
            words.extend((has_names && !column.is_empty()).then(|| italic(format!("{column}: "))));
            words.extend(cell);
        }
        // A title of nothing is none for mandoc.
        first.extend(first.is_empty().then(|| roman("-")));
        self.entry(first, words);
    }

    /// Writes a key: its type beside it, then its meaning, then the other columns with their names.
    fn key(&mut self, mut name: Vec<Inline>, cells: Vec<(Vec<Inline>, &String)>) {
        let (mut meaning, mut others) = (Vec::new(), Vec::new());
        for (cell, column) in cells {
            match column.as_str() {
                "type" => name.extend([roman(" ("), italic(text(&cell)), roman(")")]),
                "meaning" => meaning = cell,
                _ => {
                    others.extend((!others.is_empty()).then(|| roman("; ")));
                    others.push(italic(format!("{column}: ")));
                    others.extend(cell);
                }
            }
        }
        self.entry(name, meaning);
        if !others.is_empty() {
            self.roff.control("br", []);
            self.roff.text(others);
        }
    }

    /// Writes a title and what belongs to it. A title of `.TP` is one line of the page's source, which is not to be long.
    fn entry(&mut self, title: Vec<Inline>, words: Vec<Inline>) {
        if text(&title).chars().count() <= TITLE {
            self.roff.control("TP", []);
            self.roff.text(title);
            self.roff.text(words);
        } else {
            self.roff.control("PP", []);
            self.roff.text(title);
            self.roff.control("RS", ["7"]);
            self.roff.text(words);
            self.roff.control("RE", []);
        }
    }

    fn lines(&mut self, code: &str) {
        for line in code.lines() {
            self.roff.text([roman(line)]);
        }
    }

    fn flush(&mut self) {
        let words = std::mem::take(&mut self.words);
        if !words.is_empty() {
            self.roff.text(words);
        }
    }
}

fn text(words: &[Inline]) -> String {
    words
        .iter()
        .map(|word| match word {
            Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.as_str(),
            Inline::LineBreak => " ",
        })
        .collect()
}
