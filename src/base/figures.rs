//! What is measured, as whoever watches a server gets it: named families of numbers. Floors and modules say what they
//! have; nothing here knows who asks or how it is written.

/// Figures of one moment.
#[derive(Debug, Default)]
pub struct Figures(Vec<Family>);

/// Figures of one name, apart by their labels.
#[derive(Debug)]
pub struct Family {
    /// As in the OpenMetrics text, without the suffix that the kind of it brings.
    pub name: &'static str,
    /// What it says: one sentence on one line.
    pub help: &'static str,
    /// How it goes.
    pub kind: Kind,
    /// At least one.
    pub samples: Vec<Sample>,
}

/// How a figure goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Up, since the start.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution, since the start.
    Histogram,
}

/// A label and its value. Both are words of this program: nothing that a peer says can make one, so there are as many
/// figures as the code has.
pub type Label = (&'static str, &'static str);

/// One figure.
#[derive(Debug)]
pub struct Sample {
    /// What sets it apart from the others of its name.
    pub labels: Vec<Label>,
    /// The figure.
    pub value: Value,
}

/// A figure.
#[derive(Debug)]
pub enum Value {
    /// Of a counter or a gauge.
    Number(u64),
    /// Of a histogram.
    Spread(Spread),
}

/// How often something was how large.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// All together.
    pub sum: f64,
    /// Upper bounds, rising to infinity, with how many there were up to each and above the one before.
    pub buckets: Vec<(f64, u64)>,
}

impl Figures {
    /// A family of counters. Their names end in `_total`, which is not written here.
    pub fn counter(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Kind::Counter)
    }

    /// A family of gauges.
    pub fn gauge(&mut self, name: &'static str, help: &'static str) -> &mut Family {
        self.family(name, help, Kind::Gauge)
    }

    /// A histogram.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, spread: Spread) {
        let family = self.family(name, help, Kind::Histogram);
        family.samples.push(Sample { labels: Vec::new(), value: Value::Spread(spread) });
    }

    /// Adds those of somebody else.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// All families, in the order in which they were added.
    pub fn families(&self) -> &[Family] {
        &self.0
    }

    #[allow(clippy::indexing_slicing)] // it was just put there
    fn family(&mut self, name: &'static str, help: &'static str, kind: Kind) -> &mut Family {
        let at = self.0.len();
        self.0.push(Family { name, help, kind, samples: Vec::new() });
        &mut self.0[at]
    }
}

impl Family {
    /// The only one of its name.
    pub fn is(&mut self, value: u64) {
        self.with([], value);
    }

    /// One of them.
    pub fn with<const N: usize>(&mut self, labels: [Label; N], value: u64) -> &mut Self {
        self.samples.push(Sample { labels: labels.to_vec(), value: Value::Number(value) });
        self
    }

    /// One for each value of a label.
    pub fn by(
        &mut self,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) {
        for (named, value) in values {
            self.with([(label, named)], value);
        }
    }
}
