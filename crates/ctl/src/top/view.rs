//! The live screen, painted. It fits into any size: what a small one has no room for is left out.

mod board;
mod parts;
mod popup;
mod table;

use daemon_core::Status;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use parts::Parts;

use super::screen::{Link, Means, Mode, Pace, Palette, Screen, Shown, Told};
use crate::picture;
use crate::{status, text};

const KEYS: &str = "? help  / filter  s sort  R retire  t trace  K kill  p pause  q quit";

impl Screen {
    /// Paints it.
    pub(crate) fn view(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let letters = self.picture.as_ref().map_or(0, |picture| match picture.max_children {
            0 => 0,
            _some => picture.board.chars().count() + 2,
        });
        let board = rows(letters, area.width);
        let banner = match &self.link {
            Link::Well => 0,
            // A cause is a sentence with a path in it: it may take a second line.
            Link::Lost { why, .. } => 1 + rows(why.chars().count(), area.width).clamp(1, 2),
        };
        let parts = Parts::of(area.height, banner, board);
        let [title, banner, totals, rate, board, legend, _gap, table, foot] = Layout::vertical([
            Constraint::Length(parts.title),
            Constraint::Length(parts.banner),
            Constraint::Length(parts.totals),
            Constraint::Length(parts.rate),
            Constraint::Length(parts.board),
            Constraint::Length(parts.legend),
            Constraint::Length(parts.gap),
            Constraint::Fill(1),
            Constraint::Length(parts.foot),
        ])
        .areas(area);
        self.view_title(frame, title);
        self.view_banner(frame, banner);
        if let Some(picture) = &self.picture {
            let words = status::totals(picture).join("  ");
            frame.render_widget(Paragraph::new(words), totals);
            self.view_rate(frame, picture, rate);
            self.view_board(frame, picture, board);
            self.view_legend(frame, picture, legend);
        }
        self.page = usize::from(table.height.saturating_sub(1));
        self.view_table(frame, table);
        self.view_foot(frame, foot);
        self.view_popup(frame, area);
    }

    fn view_title(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut words = Vec::new();
        match &self.picture {
            None => words.push("nothing is known yet".to_owned()),
            Some(picture) => {
                words.extend(picture.model.map(|model| picture::model(model).to_owned()));
                words.push(picture.phase.word().to_owned());
                words.extend(picture.accepting_words().map(str::to_owned));
                words.extend(status::waiting(picture));
                words.push(format!("up {}", text::span(picture.up)));
                words.extend(picture.parent.map(|parent| format!("parent {parent}")));
            }
        }
        let name = self.picture.as_ref().and_then(|picture| picture.alias.clone());
        let name = name.unwrap_or_else(|| "scoreboard".to_owned());
        let line = Line::from(vec![
            Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
            Span::raw("  "),
            Span::raw(words.join("  ")),
        ]);
        let mark = match self.pace {
            Pace::Paused => Span::styled(" PAUSED ", Style::new().add_modifier(Modifier::REVERSED)),
            Pace::Running => match self.means {
                Means::Daemon => Span::raw(""),
                Means::BoardAlone => Span::raw(" scoreboard alone"),
            },
        };
        let right = u16::try_from(mark.width()).unwrap_or(0).min(area.width);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(right)]).areas(area);
        frame.render_widget(line, left);
        frame.render_widget(Line::from(mark), right);
    }

    fn view_banner(&self, frame: &mut Frame<'_>, area: Rect) {
        let Link::Lost { since, why, shown } = &self.link else { return };
        let shown = match (self.means, shown) {
            (Means::BoardAlone, _) => "this is what was read last",
            (Means::Daemon, Shown::LastAnswer) => "this is what it has told last",
            (Means::Daemon, Shown::Board) => "this is what its scoreboard shows",
        };
        let time = text::span(self.now.saturating_since(*since));
        let style = self.colour(Color::Red).add_modifier(Modifier::BOLD);
        let first = Line::styled(format!("NO ANSWER for {time}: {shown}"), style);
        let lines = vec![first, Line::styled(why.clone(), self.colour(Color::Red))];
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
    }

    fn view_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let line = match (&self.mode, &self.notice) {
            (Mode::Filter, _) => Line::from(vec![
                Span::raw(format!("/{}", text::clean(&self.filter))),
                Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
                Span::raw("  Enter keeps it, Esc shows all"),
            ]),
            (_, Some(notice)) => match &notice.told {
                Told::Done(text) | Told::Text { text, .. } => Line::raw(text::clean(text)),
                Told::Failed(why) => Line::styled(text::clean(why), self.colour(Color::Red)),
            },
            (_, None) if self.filter.is_empty() => {
                Line::styled(KEYS, Style::new().add_modifier(Modifier::DIM))
            }
            (_, None) => {
                let all = self.picture.as_ref().map_or(0, |picture| picture.children.len());
                let (shown, filter) = (self.rows().len(), text::clean(&self.filter));
                Line::raw(format!("/{filter}  shows {shown} of {all}, Esc shows all"))
            }
        };
        frame.render_widget(line, area);
    }

    fn colour(&self, colour: Color) -> Style {
        match self.palette {
            Palette::Colours => Style::new().fg(colour),
            Palette::Plain => Style::new(),
        }
    }

    fn style_of(&self, letter: char) -> Style {
        match Status::from_letter(letter) {
            Some(Status::Empty) => Style::new(),
            Some(Status::Forking | Status::Forked) => self.colour(Color::Cyan),
            Some(Status::Fresh | Status::Waiting) => self.colour(Color::Green),
            Some(Status::Serving) => self.colour(Color::Yellow).add_modifier(Modifier::BOLD),
            Some(Status::Long) => self.colour(Color::Magenta).add_modifier(Modifier::BOLD),
            Some(Status::Leaving) => self.colour(Color::Red),
            None if letter == '?' => self.colour(Color::Red).add_modifier(Modifier::REVERSED),
            // The brackets around the board.
            None => Style::new(),
        }
    }
}

/// How many rows so many letters take.
fn rows(letters: usize, width: u16) -> u16 {
    u16::try_from(letters.div_ceil(usize::from(width).max(1))).unwrap_or(u16::MAX)
}
