pub(crate) const SCENARIOS: &[crate::scenarios::Scenario] = &[];
