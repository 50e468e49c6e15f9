"""Results as a Markdown table and as a picture."""

import statistics
from html import escape

OURS = "epk"
# Bounds that no compressed file system competes with. The floor is a FUSE server that has all in
# memory as it is.
BOUNDS = ["floor", "ext4", "tmpfs"]


def rows(results):
    """(corpus, test, cold or warm, unit, higher is better, {system: samples})."""
    for corpus, tests in results["samples"].items():
        for test, told in tests.items():
            for which in "cold", "warm":
                values = {name: samples[which] for name, samples in told["systems"].items()
                          if samples[which]}
                if values:
                    yield corpus, test, which, told["unit"], told["higher"], values


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(samples):
    if len(samples) == 1:
        return number(samples[0])
    return f"{number(statistics.median(samples))} [{number(min(samples))}–{number(max(samples))}]"


def ratio(ours, other, higher):
    """How many times better ours is."""
    ours, other = statistics.median(ours), statistics.median(other)
    return ours / other if higher else other / ours


def best_peer(values, higher):
    peers = {name: samples for name, samples in values.items()
             if name != OURS and name not in BOUNDS}
    if OURS not in values or not peers:
        return None
    return min(peers, key=lambda name: ratio(values[OURS], peers[name], higher))


def markdown(results):
    machine = results["machine"]
    systems = results["systems"]
    text = [
        f"# {machine['date']}: {', '.join(systems)}", "",
        f"{machine['processor']}, {machine['cores']} processors, {machine['memory_mib']} MiB, "
        f"Linux {machine['kernel']}; commit {machine['commit']}; {results['rounds']} rounds, "
        "every system in turn in each. Median [least–most]; MB are 10⁶ bytes. The last column: how "
        "many times better ours is than the best peer of that row (bounds left out).", "",
        "| corpus | test | | " + " | ".join(systems) + " | ratio |",
        "|---|---|---|" + "---:|" * (len(systems) + 1),
    ]
    for corpus, test, which, unit, higher, values in rows(results):
        cells = [cell(values[name]) if name in values else "" for name in systems]
        best = best_peer(values, higher)
        told = f"{ratio(values[OURS], values[best], higher):.2f} ({best})" if best else ""
        text.append(f"| {corpus} | {test}, {unit} | {which} | " + " | ".join(cells) + f" | {told} |")
    text += ["", "## Servers", "", "Medians after the cold run of a test: CPU seconds, peak memory "
             "in MiB (of it private).", "", "| corpus | test | "
             + " | ".join(name for name in systems) + " |", "|---|---|" + "---:|" * len(systems)]
    for corpus, tests in results["samples"].items():
        for test, told in tests.items():
            cells = []
            for name in systems:
                usage = told["systems"].get(name, {}).get("server")
                middle = {key: statistics.median(use[key] for use in usage)
                          for key in ("cpu_seconds", "peak_kib", "anonymous_kib")} if usage else None
                cells.append(f"{middle['cpu_seconds']:.2f} s, {middle['peak_kib'] / 1024:.1f} "
                             f"({middle['anonymous_kib'] / 1024:.1f})" if middle else "")
            text.append(f"| {corpus} | {test} | " + " | ".join(cells) + " |")
    text += ["", "## Images", "", "MiB; CPU and wall seconds to make.", "",
             "| corpus | " + " | ".join(systems) + " |", "|---|" + "---:|" * len(systems)]
    for corpus, images in results["images"].items():
        cells = []
        for name in systems:
            made = images.get(name)
            cells.append(f"{made['bytes'] / 2**20:.1f}; {made['cpu_seconds']:.1f}; "
                         f"{made['wall_seconds']:.1f}" if made and "bytes" in made else "")
        text.append(f"| {corpus} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


COLOURS = ["#d4502a", "#34699a", "#5f9ed1", "#4f7f5b", "#8cba80", "#9a7fb5", "#b9b9b9", "#dcdcdc"]
HEIGHT, GAP, LEFT, WIDTH = 11, 14, 300, 560


def svg(results):
    """Bars a test: how fast each system is, with ours as 1. Longer is better."""
    systems = results["systems"]
    bars, at = [], 70
    for corpus, test, which, unit, higher, values in rows(results):
        if OURS not in values:
            continue
        speeds = {name: 1 / ratio(values[OURS], samples, higher) for name, samples in values.items()}
        longest = max(1.0, max(speed for name, speed in speeds.items() if name not in BOUNDS))
        title = f"{corpus}: {test}, {which}"
        bars.append(f'<text x="{LEFT - 10}" y="{at + HEIGHT * len(speeds) / 2 + 4}" '
                    f'text-anchor="end">{escape(title)}</text>')
        for name in systems:
            if name not in speeds:
                continue
            length = min(speeds[name] / longest, 1.15) * WIDTH
            middle = number(statistics.median(values[name]))
            bars.append(f'<rect x="{LEFT}" y="{at}" width="{length:.1f}" height="{HEIGHT - 2}" '
                        f'fill="{COLOURS[systems.index(name) % len(COLOURS)]}"/>'
                        f'<text x="{LEFT + length + 5:.1f}" y="{at + HEIGHT - 3}" class="value">'
                        f'{escape(f"{middle} {unit}")}</text>')
            at += HEIGHT
        at += GAP
    legend, x = [], LEFT
    for index, name in enumerate(systems):
        legend.append(f'<rect x="{x}" y="40" width="10" height="10" '
                      f'fill="{COLOURS[index % len(COLOURS)]}"/>'
                      f'<text x="{x + 14}" y="49">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    machine = results["machine"]
    head = f"Speed, longer is better: {machine['processor']}, Linux {machine['kernel']}, " \
           f"{machine['date']}"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 220}" height="{at}" '
            'font-family="sans-serif" font-size="12"><style>.value{font-size:9px;fill:#555}</style>'
            f'<rect width="100%" height="100%" fill="white"/>'
            f'<text x="20" y="24" font-size="15">{escape(head)}</text>'
            + "".join(legend) + "".join(bars) + "</svg>\n")
