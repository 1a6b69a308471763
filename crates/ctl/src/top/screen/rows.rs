//! Which children are shown, in which order, and which of them is selected.

use super::Screen;
use crate::picture::Child;
use crate::top::columns::{Direction, passes};

impl Screen {
    /// The children that the filter lets through, in the order of the chosen column.
    pub(in crate::top) fn rows(&self) -> Vec<&Child> {
        let children = self.picture.iter().flat_map(|picture| &picture.children);
        let mut rows: Vec<&Child> = children.filter(|child| passes(child, &self.filter)).collect();
        rows.sort_by(|one, other| {
            let order = self.column.compare(one, other, &self.rates);
            let order = match self.direction {
                Direction::Up => order,
                Direction::Down => order.reverse(),
            };
            order.then_with(|| one.slot.cmp(&other.slot))
        });
        rows
    }

    pub(in crate::top) fn selected_child(&self) -> Option<&Child> {
        let selected = self.selected?;
        self.rows().into_iter().find(|child| child.who() == selected)
    }

    /// Selects a row, or the last one.
    pub(super) fn select(&mut self, row: usize) {
        let rows = self.rows();
        let row = row.min(rows.len().saturating_sub(1));
        let selected = rows.get(row).map(|child| child.who());
        (self.row, self.selected) = (row, selected);
    }

    /// Finds the selected child's row again. If it is gone, who stands on its row is selected, so that
    /// the selection does not jump.
    pub(super) fn follow(&mut self) {
        let Some(selected) = self.selected else {
            return self.select(0);
        };
        match self.rows().iter().position(|child| child.who() == selected) {
            Some(row) => self.row = row,
            None => self.select(self.row),
        }
    }
}
