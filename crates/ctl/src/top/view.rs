//! The live screen, painted. It fits into any size: what a small one has no room for is left out.

use daemon_core::Status;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row, Sparkline, Table, Wrap};

use super::columns::{Column, Direction, Side};
use super::screen::{Deed, Link, Means, Mode, Pace, Palette, Screen, Shown, Told};
use crate::picture::{self, Picture};
use crate::{status, text};

const KEYS: &str = "? help  / filter  s sort  R retire  t trace  K kill  p pause  q quit";

const HELP: [&str; 17] = [
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
    "F ordered   f born     . fresh    w waits",
    "r serves    l long     e leaves   ? damaged",
    "",
    "FOR since its status has changed   AGE since its birth",
    "LAST CAUSE why the slot's former child is gone",
];

/// How many lines each part gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Parts {
    title: u16,
    banner: u16,
    totals: u16,
    rate: u16,
    board: u16,
    legend: u16,
    gap: u16,
    foot: u16,
}

impl Parts {
    /// Deals out the height, the most needed part first. The table gets what is left.
    fn of(height: u16, banner: u16, board: u16) -> Parts {
        let mut left = height;
        let mut take = |wanted: u16| {
            let given = wanted.min(left);
            left -= given;
            given
        };
        let title = take(1);
        // The heading of the table and a row.
        take(2);
        let banner = take(banner);
        let foot = take(1);
        let first_of_board = take(board.min(1));
        let totals = take(1);
        let legend = take(board.min(1));
        let rate = take(1);
        // A few children more on the screen are worth more than what follows.
        take(6);
        let gap = take(1);
        let more_of_board = take((board - first_of_board).min(height / 5));
        let board = first_of_board + more_of_board;
        Parts { title, banner, totals, rate, board, legend, gap, foot }
    }
}

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
                words.extend(picture.door.map(|door| picture::door(door).to_owned()));
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

    fn view_rate(&self, frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
        let rate = self.rates.per_second().map_or_else(|| "-".to_owned(), text::rate);
        let words = format!("{} requests, {rate} a second ", picture.requests());
        let width = u16::try_from(words.len()).unwrap_or(u16::MAX).min(area.width);
        let [left, right] =
            Layout::horizontal([Constraint::Length(width), Constraint::Fill(1)]).areas(area);
        frame.render_widget(Line::raw(words), left);
        let room = usize::from(right.width);
        // Tenths, so that a daemon with little to do does not look as if it had nothing.
        let tenths: Vec<u64> =
            self.rates.history(room).map(|rate| (rate * 10.0).round() as u64).collect();
        let blank = room.saturating_sub(tenths.len());
        let data: Vec<u64> = std::iter::repeat_n(0, blank).chain(tenths).collect();
        let line = Sparkline::default().data(data).style(self.colour(Color::Cyan));
        frame.render_widget(line, right);
    }

    fn view_board(&self, frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
        let width = usize::from(area.width).max(1);
        let mut letters: Vec<char> = format!("[{}]", picture.board).chars().collect();
        let room = usize::from(area.height).saturating_mul(width);
        let mut end = String::new();
        if letters.len() > room {
            // As many digits as the number of all slots has are enough for the rest of them.
            let digits = letters.len().to_string().len();
            let kept = room.saturating_sub(digits + 3);
            end = format!(" +{}]", letters.len() - 1 - kept);
            letters.truncate(kept);
        }
        let mut lines: Vec<Line<'_>> =
            letters.chunks(width).map(|chunk| Line::from(self.coloured(chunk))).collect();
        match lines.last_mut() {
            Some(last) => last.push_span(end),
            None => lines.push(Line::raw(end)),
        }
        frame.render_widget(Paragraph::new(lines), area);
    }

    /// A span for each run of the same letter.
    fn coloured(&self, letters: &[char]) -> Vec<Span<'static>> {
        letters
            .chunk_by(|one, next| one == next)
            .map(|run| {
                let style = run.first().map_or(Style::new(), |letter| self.style_of(*letter));
                Span::styled(run.iter().collect::<String>(), style)
            })
            .collect()
    }

    fn view_legend(&self, frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
        let count =
            |letter: char| picture.children.iter().filter(|child| child.letter == letter).count();
        let shown = Status::ALL.into_iter().filter(|status| *status != Status::Empty);
        let parts: Vec<(char, usize, &str)> = shown
            .map(|status| (status.letter(), count(status.letter()), picture::status(Some(status))))
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
        let line = |parts: Vec<Vec<Span<'static>>>| {
            let parts: Vec<Span<'_>> = parts.join(&Span::raw("  ")).into_iter().collect();
            Line::from(parts)
        };
        let words = line(parts.iter().map(long).collect());
        let fits = words.width() <= usize::from(area.width);
        let words = if fits { words } else { line(parts.iter().map(short).collect()) };
        frame.render_widget(words, area);
    }

    fn view_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.rows();
        let page = self.page.max(1);
        let last = rows.len().saturating_sub(page);
        let offset = self.offset.min(last).min(self.row);
        let offset = if self.row >= offset + page { self.row + 1 - page } else { offset };
        let columns = Column::that_fit(area.width);
        let widths = Column::widths(&columns, area.width);
        let cell = |words: String, column: Column, width: u16| match column.side() {
            Side::Left => Line::from(words),
            Side::Right => Line::from(format!("{words:>width$}", width = usize::from(width))),
        };
        let headings = columns.iter().zip(&widths).map(|(column, width)| {
            let mark = match self.direction {
                _unsorted if *column != self.column => "",
                Direction::Up => "▴",
                Direction::Down => "▾",
            };
            cell(format!("{}{mark}", column.heading()), *column, *width)
        });
        let header = Row::new(headings).style(Style::new().add_modifier(Modifier::BOLD));
        let shown = rows.iter().enumerate().skip(offset).take(page).map(|(row, child)| {
            let cells = columns.iter().zip(&widths).map(|(column, width)| {
                let cell = cell(column.cell(child, &self.rates, *width), *column, *width);
                match column {
                    Column::Status => cell.style(self.style_of(child.letter)),
                    Column::Slot
                    | Column::Pid
                    | Column::Since
                    | Column::Age
                    | Column::Requests
                    | Column::Cpu
                    | Column::Rss
                    | Column::Pss
                    | Column::Label
                    | Column::Cause => cell,
                }
            });
            let style = Style::new();
            let selected = row == self.row && self.selected.is_some();
            let style = if selected { style.add_modifier(Modifier::REVERSED) } else { style };
            Row::new(cells).style(style)
        });
        let shown: Vec<Row<'_>> = shown.collect();
        let is_empty = shown.is_empty();
        let constraints = widths.iter().map(|width| Constraint::Length(*width));
        let table = Table::new(shown, constraints).header(header).column_spacing(1);
        frame.render_widget(table, area);
        if is_empty && area.height > 1 {
            let body = Rect { y: area.y + 1, height: area.height - 1, ..area };
            frame.render_widget(Paragraph::new(self.why_empty()), body);
        }
        self.offset = offset;
    }

    fn why_empty(&self) -> &'static str {
        match &self.picture {
            None => "",
            Some(picture) if picture.max_children == 0 => "a daemon without children",
            Some(picture) if picture.children.is_empty() => "no child",
            Some(_) => "no child passes the filter: Esc shows all",
        }
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

    fn view_popup(&self, frame: &mut Frame<'_>, area: Rect) {
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
                let lines = HELP.into_iter().map(Line::raw).collect();
                popup(frame, area, " Help ", lines, 0, " q closes ");
            }
        }
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
            Some(Status::Forking | Status::Born) => self.colour(Color::Cyan),
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
