//! Draws the live screen in any size. A small screen omits the less important parts.

mod board;
mod popup;
mod row_heights;
mod table;

use daemon_core::{Status, format};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use row_heights::RowHeights;

use super::screen::{
    CommandResult, ConnectionState, FallbackView, InputMode, Screen, SourceKind, UpdateMode,
};
use crate::events::ColorMode;
use crate::status;

const KEYS: &str = "? help  / filter  s sort  R retire  t trace  K kill  p freeze  q quit";

impl Screen {
    /// Draws the screen.
    pub(crate) fn view(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let letters = self.snapshot.as_ref().map_or(0, |snapshot| match snapshot.max_children {
            0 => 0,
            _more => snapshot.board.chars().count() + 2,
        });
        let board = rows(letters, area.width);
        let banner = match &self.connection {
            ConnectionState::Connected => 0,
            // The error contains a path, so it may need a second line.
            ConnectionState::Lost { reason, .. } => {
                1 + rows(reason.chars().count(), area.width).clamp(1, 2)
            }
        };
        let row_heights = RowHeights::allocate(area.height, banner, board);
        let [title, banner, totals, rate, board, legend, _gap, table, foot] = Layout::vertical([
            Constraint::Length(row_heights.title),
            Constraint::Length(row_heights.banner),
            Constraint::Length(row_heights.totals),
            Constraint::Length(row_heights.rate),
            Constraint::Length(row_heights.board),
            Constraint::Length(row_heights.legend),
            Constraint::Length(row_heights.gap),
            Constraint::Fill(1),
            Constraint::Length(row_heights.foot),
        ])
        .areas(area);
        self.view_title(frame, title);
        self.view_banner(frame, banner);
        if let Some(snapshot) = &self.snapshot {
            let words = status::totals(snapshot).join("  ");
            frame.render_widget(Paragraph::new(words), totals);
            self.view_rate(frame, snapshot, rate);
            self.view_board(frame, snapshot, board);
            self.view_legend(frame, snapshot, legend);
        }
        self.page = usize::from(table.height.saturating_sub(1));
        self.view_table(frame, table);
        self.view_foot(frame, foot);
        self.view_popup(frame, area);
    }

    fn view_title(&self, frame: &mut Frame<'_>, area: Rect) {
        let mut words = Vec::new();
        match &self.snapshot {
            None => words.push("no data yet".to_owned()),
            Some(snapshot) => {
                words.extend(snapshot.model.map(|model| model.word().to_owned()));
                words.push(snapshot.phase.word().to_owned());
                words.extend(snapshot.accepting_words().map(str::to_owned));
                words.extend(status::waiting(snapshot));
                words.push(format!("up {}", format::duration(snapshot.up)));
                words.extend(snapshot.parent.map(|parent| format!("parent {parent}")));
            }
        }
        let name = self.snapshot.as_ref().and_then(|snapshot| snapshot.alias.clone());
        let name = name.unwrap_or_else(|| "scoreboard".to_owned());
        let line = Line::from(vec![
            Span::styled(name, Style::new().add_modifier(Modifier::BOLD)),
            Span::raw("  "),
            Span::raw(words.join("  ")),
        ]);
        let mark = match self.update_mode {
            UpdateMode::Frozen => {
                Span::styled(" FROZEN ", Style::new().add_modifier(Modifier::REVERSED))
            }
            UpdateMode::Live => match self.source_kind {
                SourceKind::Daemon => Span::raw(""),
                SourceKind::BoardOnly => Span::raw(" scoreboard file only"),
            },
        };
        let right = u16::try_from(mark.width()).unwrap_or(0).min(area.width);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(right)]).areas(area);
        frame.render_widget(line, left);
        frame.render_widget(Line::from(mark), right);
    }

    fn view_banner(&self, frame: &mut Frame<'_>, area: Rect) {
        let ConnectionState::Lost { since, reason, shown } = &self.connection else { return };
        let shown = match (self.source_kind, shown) {
            (SourceKind::BoardOnly, _) => "showing the last scoreboard",
            (SourceKind::Daemon, FallbackView::LastReport) => "showing the last report",
            (SourceKind::Daemon, FallbackView::Board) => "showing the scoreboard file",
        };
        let time = format::duration(self.now.saturating_since(*since));
        let style = self.colour(Color::Red).add_modifier(Modifier::BOLD);
        let first = Line::styled(format!("NO ANSWER for {time}: {shown}"), style);
        let lines = vec![first, Line::styled(reason.clone(), self.colour(Color::Red))];
        frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: true }), area);
    }

    fn view_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let line = match (&self.mode, &self.status_message) {
            (InputMode::Filter, _) => Line::from(vec![
                Span::raw(format!("/{}", format::clean(&self.filter))),
                Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
                Span::raw("  Enter keeps the filter, Esc clears it"),
            ]),
            (_, Some(status_message)) => match &status_message.result {
                CommandResult::Done(text) | CommandResult::Text { text, .. } => {
                    Line::raw(format::clean(text))
                }
                CommandResult::Failed(reason) => {
                    Line::styled(format::clean(reason), self.colour(Color::Red))
                }
            },
            (_, None) if self.filter.is_empty() => {
                Line::styled(KEYS, Style::new().add_modifier(Modifier::DIM))
            }
            (_, None) => {
                let all = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.children.len());
                let (shown, filter) = (self.rows().len(), format::clean(&self.filter));
                Line::raw(format!("/{filter}  {shown} of {all} children, Esc clears the filter"))
            }
        };
        frame.render_widget(line, area);
    }

    fn colour(&self, colour: Color) -> Style {
        match self.color_mode {
            ColorMode::Color => Style::new().fg(colour),
            ColorMode::Plain => Style::new(),
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
            // The brackets around the scoreboard.
            None => Style::new(),
        }
    }
}

/// Returns the number of rows that this many letters need.
fn rows(letters: usize, width: u16) -> u16 {
    u16::try_from(letters.div_ceil(usize::from(width).max(1))).unwrap_or(u16::MAX)
}
