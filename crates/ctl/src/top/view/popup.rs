//! The boxes over the screen: a question, a text, the help.

use daemon_core::Status;
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};

use crate::top::screen::{Deed, Mode, Screen};
use crate::{picture, text};

const KEYS: [&str; 12] = [
    "arrows PgUp PgDn Home End   select a child",
    "s S    sort by the next column, the one before",
    "r      the other way round",
    "/      show some: words of the label, the beginning",
    "       of a pid, or a letter of the status",
    "Esc    show all again",
    "R      retire the child: it leaves after its request",
    "t      trace the child: what does it do?",
    "K      kill the child: its request is lost",
    "p      hold the screen still, and let it go on",
    "q Esc  leave",
    "",
];

const COLUMNS: [&str; 3] = [
    "",
    "FOR since its status has changed   AGE since its birth",
    "LAST CAUSE why the slot's former child is gone",
];

impl Screen {
    pub(super) fn view_popup(&self, frame: &mut Frame<'_>, area: Rect) {
        match &self.mode {
            Mode::Table | Mode::Filter => {}
            Mode::Confirm(deed) => {
                let (pid, question) = match deed {
                    Deed::Retire(pid) => {
                        let then = "It leaves after the request in hand.";
                        (pid, format!("Retire process {pid}? {then}"))
                    }
                    Deed::Kill(pid) => (pid, format!("Kill process {pid}? Its request is lost.")),
                    Deed::Trace(pid) => {
                        (pid, format!("Trace process {pid}? It may stop for a moment."))
                    }
                };
                let mut children = self.picture.iter().flat_map(|picture| &picture.children);
                let child = children.find(|child| child.pid == Some(*pid));
                let label = child.map(|child| child.label.clone());
                let lines = vec![
                    Line::raw(question),
                    Line::raw(label.unwrap_or_default()),
                    Line::styled("y yes   n no", Style::new().add_modifier(Modifier::BOLD)),
                ];
                popup(frame, area, " Sure? ", lines, 0, "");
            }
            Mode::Text { title, lines, top } => {
                let lines = lines.iter().map(|line| Line::raw(line.as_str())).collect();
                let title = format!(" {} ", text::clean(title));
                popup(frame, area, &title, lines, *top, " arrows scroll, q closes ");
            }
            Mode::Help => {
                let keys = KEYS.into_iter().map(Line::raw);
                let columns = COLUMNS.into_iter().map(Line::raw);
                let letters = letters().into_iter().map(Line::raw);
                let lines = keys.chain(letters).chain(columns).collect();
                popup(frame, area, " Help ", lines, 0, " q closes ");
            }
        }
    }
}

/// What the letters mean, four in a line.
fn letters() -> Vec<String> {
    let shown = Status::ALL.into_iter().filter(|status| *status != Status::Empty);
    let known = shown.map(|status| (status.letter(), picture::status(Some(status))));
    let all: Vec<_> = known.chain([('?', picture::status(None))]).collect();
    let line = |four: &[(char, &str)]| {
        let words = four.iter().map(|(letter, word)| format!("{letter} {word:<9}"));
        words.collect::<String>().trim_end().to_owned()
    };
    all.chunks(4).map(line).collect()
}

/// A box in the middle, as large as its lines need and as the screen allows.
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
    let place = Rect {
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
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), place);
}
