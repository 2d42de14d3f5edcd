"""Makes up operators' notes and controllers' messages, German and English, with their class.

Nothing here was written on a shop floor. A quarter of the words of each list, drawn once, is `kept` from training,
and so are templates of their own: the held-out test knows neither.
"""

import random

LABELS = ["routine", "quality", "fault"]


def split(seed, text):
    """A list of words, parted by |: three quarters to train with, the rest kept."""
    words = sorted(word.strip() for word in text.split("|"))
    random.Random(seed).shuffle(words)
    at = len(words) // 4
    return {"kept": words[:at], "seen": words[at:]}


COMPONENTS = {
    "de": split(1, """Hydraulikpumpe | Spindel | Förderband | Kühlmittelpumpe | Greifer | Werkzeugwechsler | Lüfter | Motor M3 |
        Getriebe | Zylinder 2 | Ventil V12 | Schaltschrank | Sensor B4 | Stößel | Lichtschranke | Hauptantrieb | Schmierung |
        Bremse | Presse | Zuführung | Vorschubachse | Späneförderer | Absaugung | Drehtisch | Spannfutter | Umrichter |
        Endschalter | Kompressor | Roboterarm | Palettierer | Ölpumpe | Kühlaggregat | Förderer 3 | Antrieb X | Servoachse |
        Druckluft | Vakuumpumpe | Ofen | Kupplung | Schlauch"""),
    "en": split(2, """hydraulic pump | spindle | conveyor | coolant pump | gripper | tool changer | fan | motor M3 | gearbox |
        cylinder 2 | valve V12 | cabinet | sensor B4 | ram | light curtain | main drive | lube unit | brake | press | feeder |
        feed axis | chip conveyor | extractor | rotary table | chuck | inverter | limit switch | compressor | robot arm |
        palletizer | oil pump | chiller | conveyor 3 | drive X | servo axis | air supply | vacuum pump | oven | clutch | hose"""),
}
SYMPTOMS = {
    "de": split(3, """leckt | leckt stark | macht laute Geräusche | ungewöhnliches Geräusch | läuft heiß | heißgelaufen | zu heiß |
        Übertemperatur | überhitzt | steht | bleibt stehen | Stillstand | klemmt | verklemmt | blockiert | bleibt hängen |
        vibriert stark | Vibration zu hoch | ohne Funktion | funktioniert nicht | geht nicht mehr | geht nicht an | startet nicht |
        läuft nicht an | meldet Störung | Störung steht an | Fehler | Fehlermeldung | verliert Öl | Ölverlust | Öl tropft | tropft |
        undicht | Leckage | ruckelt | läuft ruckartig | zieht zu viel Strom | Überstrom | Überlast | defekt | kaputt | ausgefallen |
        fällt aus | Ausfall | kein Druck | Druck fällt ab | Druckabfall | Druck zu niedrig | ist gerissen | gebrochen | Bruch |
        Sicherung geflogen | Sicherung löst aus | riecht verbrannt | qualmt | Rauch | schaltet ständig ab | Not-Aus | Notaus ausgelöst |
        pfeift | quietscht | schleift | Lager defekt | Lagerschaden | Kabel gebrochen | keine Rückmeldung | Signal fehlt |
        Position nicht erreicht | Drehzahl zu niedrig | Zeitüberschreitung"""),
    "en": split(4, """leaking | leaks badly | makes loud noise | strange noise | running hot | too hot | overtemperature | overheats |
        overheated | stopped | stops again | standstill | jammed | jams | blocked | gets stuck | stuck | vibrates badly |
        vibration too high | not working | does not work | will not move | will not start | does not start | reports a fault |
        fault active | error | error message | loses oil | oil leak | dripping oil | dripping | hose burst | stutters | runs jerky |
        draws too much current | overcurrent | overload | broken | broke | failed | fails | failure | no pressure | pressure drops |
        pressure too low | low pressure | is cracked | crack | fuse blown | fuse keeps tripping | keeps tripping | smells burnt |
        smoking | smoke | emergency stop | e-stop tripped | squeals | grinding | bearing gone | bearing damaged | cable broken |
        no feedback | signal missing | position not reached | speed too low | timeout"""),
}
PARTS = {
    "de": split(5, """Teile | Charge 7 | Bohrung | Naht | Schweißnaht | Oberfläche | Rand | Gewinde | Blech | Gehäuse | Deckel | Los 12 |
        Kante | Flansch | Welle | Bauteil | letzte Teile | Werkstück | Serie 4 | Lackierung"""),
    "en": split(6, """parts | batch 7 | bore | weld | weld seam | surface | rim | thread | sheet | housings | lids | lot 12 | edge | flange |
        shaft | component | last parts | workpiece | series 4 | coating"""),
}
DEFECTS = {
    "de": split(7, """Kratzer | verkratzt | zerkratzt | Grat | Gratbildung | Lunker | außer Toleranz | Toleranz überschritten |
        Durchmesser zu groß | Durchmesser zu klein | zu groß | Maß zu klein | Farbe falsch | Farbfehler | Ausschuss | viel Ausschuss |
        Maß nicht gehalten | maßlich nicht i.O. | nicht i.O. | unsauber | Poren | porös | zu rau | Rauheit zu hoch | Dellen | verbeult |
        Blasen | Verfärbung | verfärbt | schief | Einschlüsse | Nacharbeit nötig | nachgearbeitet | Reklamation | gesperrt |
        Rattermarken | Oberfläche schlecht | schlechte Qualität"""),
    "en": split(8, """scratches | scratched | burr | burrs | voids | out of tolerance | tolerance exceeded | diameter too large |
        diameter too small | too large | undersize | wrong colour | colour off | scrap | much scrap | dimension not held |
        dimension out | not ok | rough finish | pores | porous | roughness too high | dents | dented | blisters | discoloured |
        crooked | inclusions | needs rework | reworked | rejects | rejected | on hold | chatter marks | surface bad | poor quality"""),
}
DONE = {
    "de": split(9, """gereinigt | geschmiert | gewartet | Wartung erledigt | geprüft, in Ordnung | kontrolliert, ok | läuft normal | läuft wieder |
        repariert, läuft wieder | repariert | getauscht, läuft | instandgesetzt | Filter gewechselt | Öl aufgefüllt | unauffällig |
        eingerichtet | eingestellt | wieder in Betrieb | Probelauf gut | Inspektion ohne Befund | alles ok | keine Auffälligkeiten |
        behoben | quittiert und läuft | freigegeben"""),
    "en": split(10, """cleaned | greased | serviced | service done | checked, fine | inspected, ok | running normally | running again |
        repaired, running again | repaired | replaced, running | fixed | filter changed | oil topped up | looks normal | set up |
        adjusted | back in service | test run good | inspection without findings | all ok | nothing unusual | solved |
        acknowledged and running | released"""),
}
TEMPLATES = {
    "fault": {
        "de": {"seen": ["{c} {s}", "{c}: {s}, bitte prüfen", "Achtung, {c} {s}", "Störung {n}: {c} {s}", "{c} {s} seit {t}",
                        "Maschine steht, {c} {s}", "Instandhaltung gerufen, {c} {s}", "ALARM {n} {c} {s}", "{s} an {c}"],
               "kept": ["wieder {c}: {s}", "Schlosser muss kommen, {c} {s}", "{t} Stillstand, {c} {s}", "E{n} {c} {s}",
                        "beim Anfahren {c} {s}"]},
        "en": {"seen": ["{c} {s}", "{c}: {s}, please check", "warning, {c} {s}", "fault {n}: {c} {s}", "{c} {s} since {t}",
                        "machine down, {c} {s}", "called maintenance, {c} {s}", "ALARM {n} {c} {s}", "{s} at {c}"],
               "kept": ["again {c}: {s}", "fitter needed, {c} {s}", "{t} downtime, {c} {s}", "E{n} {c} {s}",
                        "on start-up {c} {s}"]},
    },
    "quality": {
        "de": {"seen": ["{p} {d}", "{p}: {d}", "{n} Teile {d}, gesperrt", "{d} an {p}", "QS informiert, {p} {d}",
                        "Stichprobe {t}: {p} {d}"],
               "kept": ["Prüfung negativ, {p} {d}", "{p} aussortiert: {d}", "Kunde meldet {p} {d}", "bei {p} immer noch {d}"]},
        "en": {"seen": ["{p} {d}", "{p}: {d}", "{n} parts {d}, on hold", "{d} on {p}", "QA informed, {p} {d}",
                        "sample {t}: {p} {d}"],
               "kept": ["inspection failed, {p} {d}", "{p} sorted out: {d}", "customer reports {p} {d}", "still {d} on {p}"]},
    },
    "routine": {
        "de": {"seen": ["Schichtübergabe ohne Vorkommnisse", "{c} {r}", "{c} {r}", "{c} {r}", "{c}: {r}", "{r}: {c}", "{p} {r}",
                        "Werkzeug gewechselt um {t}", "gerüstet auf Auftrag {n}", "Material nachgefüllt", "Programm {n} geladen",
                        "Zyklus {n} gestartet", "Störung {n} quittiert, {c} {r}", "{n} Teile gefertigt", "Pause bis {t}",
                        "{c} hatte {s}, jetzt {r}"],
               "kept": ["ruhige Schicht, {c} {r}", "beim Rundgang {c} {r}", "Auftrag {n} abgeschlossen, {c} {r}", "{t} {c} {r}",
                        "Meldung {n} gelöscht, {r}", "nach {s} {c} {r}"]},
        "en": {"seen": ["shift handover, nothing to report", "{c} {r}", "{c} {r}", "{c} {r}", "{c}: {r}", "{r}: {c}", "{p} {r}",
                        "tool changed at {t}", "set up for order {n}", "material refilled", "program {n} loaded",
                        "cycle {n} started", "fault {n} acknowledged, {c} {r}", "{n} parts made", "break until {t}",
                        "{c} had {s}, now {r}"],
               "kept": ["quiet shift, {c} {r}", "on the walk-round {c} {r}", "order {n} finished, {c} {r}", "{t} {c} {r}",
                        "message {n} cleared, {r}", "after {s} {c} {r}"]},
    },
}
BEFORE = {"de": ["Frühschicht: ", "Nachtschicht: ", "{t} Uhr ", "Info: ", "Linie 1, "],
          "en": ["early shift: ", "night shift: ", "{t} ", "info: ", "line 1, "]}
AFTER = {"de": [" bitte beachten", " siehe Buch", ", Gruß", " !!"], "en": [" please note", " see log", ", thanks", " !!"]}


def number(rng):
    return str(rng.choice([rng.randint(2, 99), rng.randint(100, 9999)]))


def clock(rng):
    return f"{rng.randint(0, 23):02d}:{rng.choice(['00', '15', '20', '40', '55'])}"


def typo(rng, text):
    at = rng.randrange(len(text) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return text[:at] + text[at + 1] + text[at] + text[at + 2:]
    return text[:at] + (text[at + 1:] if kind == 1 else text[at] + text[at:])


def note(rng, templates, words, label):
    """One note, and the template that made it."""
    language = rng.choice(["de", "de", "en"])
    template = rng.choice(TEMPLATES[label][language][templates])
    # Machines and messages are often named in the other language.
    other = language if rng.random() < 0.85 else ("en" if language == "de" else "de")
    text = template.format(c=rng.choice(COMPONENTS[other][words]), s=rng.choice(SYMPTOMS[language][words]),
                           p=rng.choice(PARTS[language][words]), d=rng.choice(DEFECTS[language][words]),
                           r=rng.choice(DONE[language][words]),
                           n=number(rng), t=clock(rng))
    if rng.random() < 0.3:
        text = rng.choice(BEFORE[language]).format(t=clock(rng)) + text
    if rng.random() < 0.2:
        text += rng.choice(AFTER[language])
    if rng.random() < 0.3:
        for umlaut, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss"), ("Ö", "Oe"), ("Ä", "Ae"), ("Ü", "Ue")):
            text = text.replace(umlaut, plain)
    while rng.random() < 0.3:
        text = typo(rng, text)
    shape = rng.random()
    text = text.upper() if shape < 0.15 else text.lower() if shape < 0.35 else text
    return " ".join(text.split()), template


def notes(seed, templates, words, count):
    """`count` different notes: texts, labels (half routine, a quarter each of the others), templates. Both arguments
    are `seen` or `kept`."""
    rng, seen, out = random.Random(seed), set(), []
    while len(out) < count:
        label = rng.choice(["routine", "routine", "quality", "fault"])
        text, template = note(rng, templates, words, label)
        if len(text) > 2 and text.lower() not in seen:
            seen.add(text.lower())
            out.append((text, label, template))
    return [list(column) for column in zip(*out)]
