//! The ledger among workers that are made up: stories by hand, and any that chance tells.

mod chance;
mod stage;
mod stories;
