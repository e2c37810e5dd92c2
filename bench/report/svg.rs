//! Plots side by side, both axes logarithmic, as one SVG.

use std::fmt::Write;

/// One plot.
pub struct Plot {
    pub title: String,
    pub x: String,
    pub y: String,
    pub lines: Vec<Line>,
}

/// One line of a plot; its numbers are above 0.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 360.0;
/// Room around the axes: left, right, top, bottom.
const MARGIN: [f64; 4] = [64.0, 28.0, 40.0, 48.0];
const COLOURS: [&str; 3] = ["#c0392b", "#1f6f8b", "#7d8a3c"];
const STYLE: &str = "text{font:12px sans-serif;fill:#333}.title{font-size:14px;font-weight:bold}\
                     .grid{stroke:#ddd}.line{fill:none;stroke-width:2}";

/// An axis from one power of ten to another.
struct Axis {
    low: f64,
    high: f64,
    /// Where they are drawn.
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Axis {
        let low = values.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let high = values.fold(0.0, f64::max).log10().ceil();
        Axis { low, high: high.max(low + 1.0), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let part = (value.log10() - self.low) / (self.high - self.low);
        self.from + part * (self.to - self.from)
    }

    /// The powers of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power))
    }
}

/// All of them.
pub fn draw(plots: &[Plot]) -> String {
    let width = WIDTH * plots.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" \
         width=\"{width}\" height=\"{HEIGHT}\">\n<style>{STYLE}</style>\n\
         <rect width=\"{width}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for (place, plot) in plots.iter().enumerate() {
        let _ = writeln!(out, "<g transform=\"translate({} 0)\">", WIDTH * place as f64);
        one(&mut out, plot);
        out += "</g>\n";
    }
    out + "</svg>\n"
}

fn one(out: &mut String, plot: &Plot) {
    let points = || plot.lines.iter().flat_map(|line| &line.points);
    if points().next().is_none() {
        return;
    }
    let [left, right, top, bottom] = MARGIN;
    let (right, bottom) = (WIDTH - right, HEIGHT - bottom);
    let x = Axis::over(points().map(|point| point.0), left, right);
    let y = Axis::over(points().map(|point| point.1), bottom, top);
    let _ = writeln!(out, "<text class=\"title\" x=\"{left}\" y=\"22\">{}</text>", plot.title);
    for tick in x.ticks() {
        let at = x.place(tick);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{top}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 16.0
        );
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{left}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (left + right) / 2.0,
        HEIGHT - 10.0,
        plot.x,
        (top + bottom) / 2.0,
        plot.y
    );
    for (place, line) in plot.lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let spot = |point: &(f64, f64)| format!("{:.1},{:.1}", x.place(point.0), y.place(point.1));
        let path = line.points.iter().map(spot).collect::<Vec<_>>().join(" ");
        let _ = writeln!(out, "<polyline class=\"line\" stroke=\"{colour}\" points=\"{path}\"/>");
        for point in &line.points {
            let (cx, cy) = (x.place(point.0), y.place(point.1));
            let _ =
                writeln!(out, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let at = top + 14.0 + 16.0 * place as f64;
        let _ = writeln!(
            out,
            "<rect x=\"{}\" y=\"{:.1}\" width=\"12\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{at:.1}\">{}</text>",
            left + 8.0,
            at - 5.0,
            left + 26.0,
            line.name
        );
    }
}
