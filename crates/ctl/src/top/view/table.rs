//! The table of children.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};

use crate::top::columns::{Column, Direction, Side};
use crate::top::screen::Screen;

impl Screen {
    pub(super) fn view_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
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
}
