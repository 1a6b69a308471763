//! Draws the boxes over the screen: a question, a text, the help.

use daemon_core::{Status, format};
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use crate::snapshot;
use crate::top::screen::{ChildCommand, InputMode, Screen};

const KEYS: [&str; 12] = [
    "arrows PgUp PgDn Home End   select a child",
    "s S    sort by the next or previous column",
    "r      reverse the order",
    "/      filter by a part of the label, the start of a pid,",
    "       or the letter of a status",
    "Esc    clear the filter",
    "R      retire the child after its current request",
    "t      trace the child: show what it is doing",
    "K      kill the child; its request is lost",
    "p      freeze and unfreeze the screen",
    "q Esc  quit",
    "",
];

const COLUMNS: [&str; 3] = [
    "",
    "FOR time in this status   AGE time since the fork",
    "LAST EXIT exit cause of the slot's previous child",
];

impl Screen {
    pub(super) fn view_popup(&self, frame: &mut Frame<'_>, area: Rect) {
        match &self.mode {
            InputMode::Table | InputMode::Filter => {}
            InputMode::Confirm(command) => {
                let (pid, question) = match command {
                    ChildCommand::Retire(pid) => {
                        let effect = "It exits after its current request.";
                        (pid, format!("Retire process {pid}? {effect}"))
                    }
                    ChildCommand::Kill(pid) => {
                        (pid, format!("Kill process {pid}? Its request is lost."))
                    }
                    ChildCommand::Trace(pid) => {
                        (pid, format!("Trace process {pid}? It may pause for a moment."))
                    }
                };
                let mut children = self.snapshot.iter().flat_map(|snapshot| &snapshot.children);
                let child = children.find(|child| child.pid == Some(*pid));
                let label = child.map(|child| child.label.clone());
                let lines = vec![
                    Line::raw(question),
                    Line::raw(label.unwrap_or_default()),
                    Line::styled("y yes   n no", Style::new().add_modifier(Modifier::BOLD)),
                ];
                popup(frame, area, " Confirm ", lines, 0, "");
            }
            InputMode::Text { title, lines, top } => {
                let lines = lines.iter().map(|line| Line::raw(line.as_str())).collect();
                let title = format!(" {} ", format::clean(title));
                popup(frame, area, &title, lines, *top, " arrows scroll, q closes ");
            }
            InputMode::Help => {
                let keys = KEYS.into_iter().map(Line::raw);
                let columns = COLUMNS.into_iter().map(Line::raw);
                let letters = letters().into_iter().map(Line::raw);
                let lines = keys.chain(letters).chain(columns).collect();
                popup(frame, area, " Help ", lines, 0, " q closes ");
            }
        }
    }
}

/// Returns the lines of the legend of status letters, four letters in each line.
fn letters() -> Vec<String> {
    let shown = Status::ALL.into_iter().filter(|status| *status != Status::Empty);
    let known = shown.map(|status| (status.letter(), snapshot::status_word(Some(status))));
    let all: Vec<_> = known.chain([('?', snapshot::status_word(None))]).collect();
    let line = |four: &[(char, &str)]| {
        let entries = four.iter().map(|(letter, word)| format!("{letter} {word:<9}"));
        entries.collect::<String>().trim_end().to_owned()
    };
    all.chunks(4).map(line).collect()
}

/// Draws a box in the centre of the area. The box is as large as its lines need, but not larger
/// than the area.
fn popup(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    lines: Vec<Line<'_>>,
    top: usize,
    foot: &str,
) {
    let widest = lines.iter().map(Line::width).chain([title.len(), foot.len()]).max().unwrap_or(0);
    let width = u16::try_from(widest + 4).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let rect = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let block = Block::bordered()
        .title(title)
        .title_bottom(Line::raw(foot).alignment(Alignment::Right))
        .padding(ratatui::widgets::Padding::horizontal(1));
    let text: Vec<Line<'_>> = lines.into_iter().skip(top).collect();
    frame.render_widget(Clear, rect);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), rect);
}
