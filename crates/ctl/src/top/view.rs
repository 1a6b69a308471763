//! Draws the live screen in any size. A small screen omits the less important parts.

use daemon_core::{Status, format};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Padding, Paragraph, Row, Sparkline, Table, Wrap};

use super::columns::Column;
use super::rates::format_rate;
use super::screen::{ChildCommand, CommandResult, ConnectionState, InputMode, Screen, SourceKind};
use crate::events::ColorMode;
use crate::snapshot::{self, Snapshot};

const KEYS: &str = "? help  / filter  s sort  R retire  t trace  K kill  p freeze  q quit";

const HELP_KEYS: [&str; 12] = [
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

const HELP_COLUMNS: [&str; 3] = [
    "",
    "FOR time in this status   AGE time since the fork",
    "LAST EXIT exit cause of the slot's previous child",
];

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
            let words = snapshot.totals().join("  ");
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
                words.extend(snapshot.waiting_words());
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
        let mark = match self.source_kind {
            _frozen if self.frozen => {
                Span::styled(" FROZEN ", Style::new().add_modifier(Modifier::REVERSED))
            }
            SourceKind::Daemon => Span::raw(""),
            SourceKind::BoardOnly => Span::raw(" scoreboard file only"),
        };
        let right = u16::try_from(mark.width()).unwrap_or(0).min(area.width);
        let [left, right] =
            Layout::horizontal([Constraint::Fill(1), Constraint::Length(right)]).areas(area);
        frame.render_widget(line, left);
        frame.render_widget(Line::from(mark), right);
    }

    fn view_banner(&self, frame: &mut Frame<'_>, area: Rect) {
        let ConnectionState::Lost { since, reason, shows_board } = &self.connection else { return };
        let shown = match (self.source_kind, shows_board) {
            (SourceKind::BoardOnly, _) => "showing the last scoreboard",
            (SourceKind::Daemon, false) => "showing the last report",
            (SourceKind::Daemon, true) => "showing the scoreboard file",
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

    fn view_rate(&self, frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
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

    fn view_board(&self, frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
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

    fn view_legend(&self, frame: &mut Frame<'_>, snapshot: &Snapshot, area: Rect) {
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

    fn view_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.rows();
        let page = self.page.max(1);
        let last = rows.len().saturating_sub(page);
        let offset = self.offset.min(last).min(self.row);
        let offset = if self.row >= offset + page { self.row + 1 - page } else { offset };
        let columns = Column::fitting(area.width);
        let widths = Column::widths(&columns, area.width);
        let cell = |words: String, column: Column, width: u16| {
            let width = if column.is_text() { 0 } else { usize::from(width) };
            Line::from(format!("{words:>width$}"))
        };
        let headings = columns.iter().zip(&widths).map(|(column, width)| {
            let mark = match self.descending {
                _unsorted if *column != self.column => "",
                false => "▴",
                true => "▾",
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
            frame.render_widget(Paragraph::new(self.empty_text()), body);
        }
        self.offset = offset;
    }

    fn empty_text(&self) -> &'static str {
        match &self.snapshot {
            None => "",
            Some(snapshot) if snapshot.max_children == 0 => "this daemon does not fork children",
            Some(snapshot) if snapshot.children.is_empty() => "no children",
            Some(_) => "no child matches the filter: Esc clears it",
        }
    }

    fn view_popup(&self, frame: &mut Frame<'_>, area: Rect) {
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
                let keys = HELP_KEYS.into_iter().map(Line::raw);
                let columns = HELP_COLUMNS.into_iter().map(Line::raw);
                let letters = letters().into_iter().map(Line::raw);
                let lines = keys.chain(letters).chain(columns).collect();
                popup(frame, area, " Help ", lines, 0, " q closes ");
            }
        }
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

/// The number of lines of each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct RowHeights {
    title: u16,
    banner: u16,
    totals: u16,
    rate: u16,
    board: u16,
    legend: u16,
    gap: u16,
    foot: u16,
}

impl RowHeights {
    /// Allocates the height of the screen to the parts, to the most important part first. The table
    /// of children gets the rest.
    fn allocate(height: u16, banner: u16, board: u16) -> RowHeights {
        let mut left = height;
        let mut take = |wanted: u16| {
            let given = wanted.min(left);
            left -= given;
            given
        };
        let title = take(1);
        // Reserve two lines for the table: its heading and one row.
        take(2);
        let banner = take(banner);
        let foot = take(1);
        let first_of_board = take(board.min(1));
        let totals = take(1);
        let legend = take(board.min(1));
        let rate = take(1);
        // Reserve six more rows for the table, because they are more important than the gap and the
        // scoreboard's lines after the first.
        take(6);
        let gap = take(1);
        let more_of_board = take((board - first_of_board).min(height / 5));
        let board = first_of_board + more_of_board;
        RowHeights { title, banner, totals, rate, board, legend, gap, foot }
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
        .padding(Padding::horizontal(1));
    let text: Vec<Line<'_>> = lines.into_iter().skip(top).collect();
    frame.render_widget(Clear, rect);
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }).block(block), rect);
}
