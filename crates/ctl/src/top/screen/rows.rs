//! The rows of the table: filter, order and selection.

use super::Screen;
use crate::snapshot::Child;
use crate::top::columns::{SortOrder, matches_filter};

impl Screen {
    /// Returns the children that match the filter, in the order of the sort column.
    pub(in crate::top) fn rows(&self) -> Vec<&Child> {
        let children = self.snapshot.iter().flat_map(|snapshot| &snapshot.children);
        let mut rows: Vec<&Child> =
            children.filter(|child| matches_filter(child, &self.filter)).collect();
        rows.sort_by(|one, other| {
            let order = self.column.compare(one, other, &self.rates);
            let order = match self.sort_order {
                SortOrder::Ascending => order,
                SortOrder::Descending => order.reverse(),
            };
            order.then_with(|| one.slot.cmp(&other.slot))
        });
        rows
    }

    pub(in crate::top) fn selected_child(&self) -> Option<&Child> {
        let selected = self.selected?;
        self.rows().into_iter().find(|child| child.key() == selected)
    }

    /// Selects the child in this row, or the child in the last row if there are fewer rows.
    pub(super) fn select(&mut self, row: usize) {
        let rows = self.rows();
        let row = row.min(rows.len().saturating_sub(1));
        let selected = rows.get(row).map(|child| child.key());
        (self.row, self.selected) = (row, selected);
    }

    /// Finds the row of the selected child again. If the table no longer contains the child,
    /// selects the child that is now in the same row, so that the selection does not jump.
    pub(super) fn follow(&mut self) {
        let Some(selected) = self.selected else {
            return self.select(0);
        };
        match self.rows().iter().position(|child| child.key() == selected) {
            Some(row) => self.row = row,
            None => self.select(self.row),
        }
    }
}
