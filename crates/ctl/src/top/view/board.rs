//! Draws the scoreboard, its legend with counts, and the requests per second.

use daemon_core::Status;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Sparkline};

use crate::snapshot::{self, Snapshot};
use crate::top::rates::format_rate;
use crate::top::screen::Screen;

impl Screen {
    pub(super) fn view_rate(&self, frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
        let rate = self.rates.per_second().map_or_else(|| "-".to_owned(), format_rate);
        let words = format!("{} requests, {rate}/s ", snapshot.requests());
        let width = u16::try_from(words.len()).unwrap_or(u16::MAX).min(area.width);
        let [left, right] =
            Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Line::raw(words), left);
        let room = usize::from(right.width);
        // The rates are drawn in tenths, so that rates below one request per second are visible.
        let tenths: Vec<u64> =
            self.rates.history(room).map(|rate| (rate * 10.0).round() as u64).collect();
        let blank = room.saturating_sub(tenths.len());
        let data: Vec<u64> = std::iter::repeat_n(0, blank).chain(tenths).collect();
        let line = Sparkline::default().data(data).style(self.colour(Color::Cyan));
        frame.render_widget(line, right);
    }

    pub(super) fn view_board(&self, frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
        let width = usize::from(area.width).max(1);
        let mut letters: Vec<char> = format!("[{}]", snapshot.board).chars().collect();
        let room = usize::from(area.height).saturating_mul(width);
        let mut end = String::new();
        if letters.len() > room {
            // The number of omitted slots has at most as many digits as the number of all slots.
            let digits = letters.len().to_string().len();
            let kept = room.saturating_sub(digits + 3);
            end = format!(" +{}]", letters.len() - 1 - kept);
            letters.truncate(kept);
        }
        let mut lines: Vec<Line<'_>> =
            letters.chunks(width).map(|chunk| Line::from(self.colored(chunk))).collect();
        match lines.last_mut() {
            Some(last) => last.push_span(end),
            None => lines.push(Line::raw(end)),
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    /// Returns a span for each run of equal letters.
    fn colored(&self, letters: &[char]) -> Vec<Span<'static>> {
        letters
            .chunk_by(|one, next| one == next)
            .map(|run| {
                let style = run.first().map_or(Style::new(), |letter| self.style_of(*letter));
                Span::styled(run.iter().collect::<String>(), style)
            })
            .collect()
    }

    pub(super) fn view_legend(&self, frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
        let count =
            |letter: char| snapshot.children.iter().filter(|child| child.letter == letter).count();
        let shown = Status::ALL.into_iter().filter(|status| *status != Status::Empty);
        let parts: Vec<(char, usize, &str)> = shown
            .map(|status| {
                (status.letter(), count(status.letter()), snapshot::status_word(Some(status)))
            })
            .collect();
        let long = |(letter, count, word): &(char, usize, &str)| {
            vec![
                Span::styled(letter.to_string(), self.style_of(*letter)),
                Span::raw(format!(" {count} {word}")),
            ]
        };
        let short = |(letter, count, _word): &(char, usize, &str)| {
            vec![
                Span::styled(letter.to_string(), self.style_of(*letter)),
                Span::raw(format!(" {count}")),
            ]
        };
        let line = |parts: Vec<Vec<Span<'static>>>, gap: &'static str| {
            let parts: Vec<Span<'_>> = parts.join(&Span::raw(gap)).into_iter().collect();
            Line::from(parts)
        };
        let fits = |line: &Line<'_>| line.width() <= usize::from(area.width);
        let words = ["  ", " "].map(|gap| line(parts.iter().map(long).collect(), gap));
        let legend = words.into_iter().find(fits);
        let legend = legend.unwrap_or_else(|| line(parts.iter().map(short).collect(), "  "));
        frame.render_widget(legend, area);
    }
}
