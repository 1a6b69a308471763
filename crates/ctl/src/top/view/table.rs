//! Draws the table of children.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table};

use crate::top::columns::{CellAlignment, Column, SortOrder};
use crate::top::screen::Screen;

impl Screen {
    pub(super) fn view_table(&mut self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.rows();
        let page = self.page.max(1);
        let last = rows.len().saturating_sub(page);
        let offset = self.offset.min(last).min(self.row);
        let offset = if self.row >= offset + page { self.row + 1 - page } else { offset };
        let columns = Column::fitting(area.width);
        let widths = Column::widths(&columns, area.width);
        let cell = |words: String, column: Column, width: u16| match column.alignment() {
            CellAlignment::Left => Line::from(words),
            CellAlignment::Right => {
                Line::from(format!("{words:>width$}", width = usize::from(width)))
            }
        };
        let headings = columns.iter().zip(&widths).map(|(column, width)| {
            let mark = match self.sort_order {
                _unsorted if *column != self.column => "",
                SortOrder::Ascending => "▴",
                SortOrder::Descending => "▾",
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
}
