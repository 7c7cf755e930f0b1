//! Which references each query is compared with, and which of them are relevant.

/// Labels and keys of the samples of one side.
pub(crate) struct LabelsAndKeys {
    pub(crate) labels: Vec<i128>,
    pub(crate) keys: Option<Vec<i128>>,
}

/// The labels of queries and references, numbered.
///
/// For a query, references with another label are never relevant. Those with its label are relevant unless they are left
/// out: the query itself, and references with its key.
pub(crate) struct Relevance {
    /// The number of each reference's label.
    class_of_reference: Vec<u32>,
    /// The references of each label, in ascending order.
    references_of_class: Vec<Vec<u32>>,
    /// The number of each query's label; `None` if no reference has it.
    class_of_query: Vec<Option<u32>>,
    /// The keys of queries and of references.
    keys: Option<[Vec<i128>; 2]>,
    /// Whether the queries are the references.
    same_set: bool,
    /// How many relevant references each query has.
    relevant_counts: Vec<usize>,
}

impl Relevance {
    /// A set whose samples are compared with each other.
    pub(crate) fn of_set(names: &LabelsAndKeys) -> Self {
        let keys = names.keys.clone().map(|keys| [keys.clone(), keys]);
        Self::new(&names.labels, &names.labels, keys, true)
    }

    /// Queries compared with references. Keys of one side alone are not used.
    pub(crate) fn of_queries(queries: &LabelsAndKeys, references: &LabelsAndKeys) -> Self {
        let keys = match (&queries.keys, &references.keys) {
            (Some(queries), Some(references)) => Some([queries.clone(), references.clone()]),
            _ => None,
        };
        Self::new(&queries.labels, &references.labels, keys, false)
    }

    fn new(
        queries: &[i128],
        references: &[i128],
        keys: Option<[Vec<i128>; 2]>,
        same_set: bool,
    ) -> Self {
        let mut classes = references.to_vec();
        classes.sort_unstable();
        classes.dedup();
        let class_of = |label: &i128| classes.binary_search(label).ok().map(|class| class as u32);
        let class_of_reference: Vec<u32> = references.iter().filter_map(class_of).collect();
        let mut references_of_class = vec![Vec::new(); classes.len()];
        for (reference, class) in (0..).zip(&class_of_reference) {
            references_of_class[*class as usize].push(reference);
        }
        let class_of_query: Vec<Option<u32>> = queries.iter().map(class_of).collect();
        let mut relevance = Self {
            class_of_reference,
            references_of_class,
            class_of_query,
            keys,
            same_set,
            relevant_counts: Vec::new(),
        };
        relevance.relevant_counts = (0..queries.len())
            .map(|query| relevance.count_relevant(query))
            .collect();
        relevance
    }

    fn count_relevant(&self, query: usize) -> usize {
        if self.keys.is_some() {
            return self.relevant(query).count();
        }
        // A query of the same set has its own label.
        self.references_with_label_of(query).len() - usize::from(self.same_set)
    }

    pub(crate) fn queries(&self) -> usize {
        self.class_of_query.len()
    }

    /// How many references a query is compared with, before those with its key are left out.
    pub(crate) fn references(&self) -> usize {
        self.class_of_reference
            .len()
            .saturating_sub(usize::from(self.same_set))
    }

    /// The references with the query's label, left-out ones among them.
    fn references_with_label_of(&self, query: usize) -> &[u32] {
        match self.class_of_query[query] {
            Some(class) => &self.references_of_class[class as usize],
            None => &[],
        }
    }

    /// Whether a reference with the query's label is left out.
    fn is_left_out(&self, query: usize, reference: usize) -> bool {
        (self.same_set && query == reference)
            || match &self.keys {
                Some([queries, references]) => queries[query] == references[reference],
                None => false,
            }
    }

    /// The relevant references of a query in ascending order.
    pub(crate) fn relevant(&self, query: usize) -> impl Iterator<Item = usize> {
        self.references_with_label_of(query)
            .iter()
            .map(|reference| *reference as usize)
            .filter(move |reference| !self.is_left_out(query, *reference))
    }

    /// How many relevant references a query has.
    pub(crate) fn relevant_count(&self, query: usize) -> usize {
        self.relevant_counts[query]
    }

    /// The queries that have a relevant reference, in ascending order.
    pub(crate) fn queries_with_match(&self) -> Vec<usize> {
        (0..self.queries())
            .filter(|query| self.relevant_counts[*query] > 0)
            .collect()
    }

    /// How many references are left out for a query.
    pub(crate) fn left_out_count(&self, query: usize) -> usize {
        self.references_with_label_of(query).len() - self.relevant_counts[query]
    }

    /// Whether a reference is relevant to a query; `None` if it is left out.
    pub(crate) fn is_relevant(&self, query: usize, reference: usize) -> Option<bool> {
        if Some(self.class_of_reference[reference]) != self.class_of_query[query] {
            return Some(false);
        }
        (!self.is_left_out(query, reference)).then_some(true)
    }

    /// The references with another label than the query, which all are compared with it.
    pub(crate) fn others(&self, query: usize) -> impl Iterator<Item = usize> {
        let class = self.class_of_query[query];
        self.class_of_reference
            .iter()
            .enumerate()
            .filter(move |(_, other)| Some(**other) != class)
            .map(|(reference, _)| reference)
    }

    /// The references in an order in which those of one label lie side by side.
    pub(crate) fn references_by_class(&self) -> Vec<usize> {
        let classes = self.references_of_class.iter().flatten();
        classes.map(|reference| *reference as usize).collect()
    }
}
