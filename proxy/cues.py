"""The words that speak for each kind of work, in the languages that people here write (pure)."""

import re
from dataclasses import dataclass

CODE_GENERATION = "code_generation"
CODE_REVIEW = "code_review"
DEBUGGING = "debugging"
SYSTEM_DESIGN = "system_design"
DOCUMENTATION = "documentation"
GENERAL = "general"

# What may stand before the verb of a request.
_POLITE = re.compile(
    r"(?:(?:please|pls|ok(?:ay)?|now|so|and|then|also|great|first|just|only|hi|hey"
    r"|hello|yes|no|well"
    r"|let's|lets|let us|can|could|would|will|you|i|we|want|need|to|would like|like|help|me|us|go"
    r"|ahead|bitte|kannst|du|mal|por favor|peux-tu|the|a|quick|quickly|don't worry|before)[\s,]+)*",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Cue:
    """Words for one kind of work. A verb weighs more where it begins what is asked."""

    kind: str
    weight: float
    pattern: re.Pattern[str]
    is_verb: bool = False


def begins(sentence: str, at: int) -> bool:
    """Whether nothing but politeness stands before this place."""
    polite = _POLITE.match(sentence)
    return polite is not None and polite.end() >= at


def _verbs(kind: str, weight: float, words: str) -> Cue:
    return Cue(kind, weight, re.compile(rf"\b(?:{words})\b", re.IGNORECASE), is_verb=True)


def _says(kind: str, weight: float, words: str) -> Cue:
    return Cue(kind, weight, re.compile(words, re.IGNORECASE))


CUES = (
    # Something is wrong, or should stop being so.
    _verbs(DEBUGGING, 3, r"fix|debug|repair|investigate|bisect|diagnose|troubleshoot|corrige"),
    _says(
        DEBUGGING,
        6,
        r"\b(?:fails?|failing|failed|crash(?:es|ed|ing)?|broken|breaks?|hangs?|segfaults?|flaky"
        r"|stuck|chokes?|throws?|(?:does|did|do)(?:n't| not) work|not working|stopped working"
        r"|wrong|goes wrong|memory leak|leaks|deadlocks?|regression|is red|returns? (?:none|null"
        r"|nothing|\d{3}|the wrong)|twice|completely off|errors? (?:out|\d+)|permission denied"
        r"|timed? ?outs?|cannot|can't|unexpected|odd one|got slow|is locked|not accessible"
        r"|no longer|all of a sudden|keeps? (?:failing|crashing|restarting|dying))\b",
    ),
    _says(DEBUGGING, 2, r"\bwhy (?:does|do|is|are|did|doesn't|isn't|won't|can't)\b|\bget rid of\b"),
    _says(DEBUGGING, 2, r"\b(?:the|a|this|that|strange|weird) bugs?\b|\berror\b|\bexception\b"),
    _says(
        DEBUGGING,
        5,
        r"stürzt|absturz|abgestürzt|funktioniert|fehler|kaputt|schlägt fehl|no funciona|falla\b"
        r"|erreur|ne (?:marche|fonctionne) (?:pas|plus)|plante\b|non funziona|çöküyor"
        r"|çal\u0131şm\u0131yor"
        r"|não funciona|quebrad|ошибк|не работает|падает|报错|崩溃|错误|エラー|バグ|落ち|動か"
        r"|nie działa|błąd|werkt niet|修复",
    ),
    _says(
        DEBUGGING,
        5,
        r"\b(?:doesn't|isn't|won't|wouldn't|unable|refuses?|freezes?|frozen|lost|disappear(?:s|ed)?"
        r"|vanish(?:es|ed)?|missing|blank|infinite loop|race condition|nan|undefined|null ?pointer"
        r"|stack ?trace|traceback|core dump|oom|out of memory|cors|duplicated?|corrupt(?:s|ed)?"
        r"|mismatch|since (?:the|yesterday|this|upgrading)|suddenly|stopped|weird"
        r"|strange|odd(?:ly)?"
        r"|slow(?:er)?|too long|eats|spikes?|\d{3}s? (?:on|from|when|in|for)|only happens|sometimes"
        r"|intermittent\w*|reproduce|root cause|what's going on|what is going on"
        r"|nothing happens)\b",
    ),
    # An opinion on what is there.
    _says(
        CODE_REVIEW,
        5,
        r"\b(?:thoughts|sanity.check|go over|read through|look ok(?:ay)?"
        r"|looks? (?:right|fine|ok|good"
        r"|reasonable) to you|ready (?:to merge|to ship|for prod)|before i (?:push|merge|ship|open)"
        r"|improvements|suggestions|better way|roast|nits?|holes|red flags|blind spots|overlooked"
        r"|did i (?:miss|forget)|am i missing|anything missing|can this go wrong|how (?:clean|good"
        r"|readable) is|idiomatic|code quality|second opinion|poke holes|concerns|critically)\b",
    ),
    _verbs(
        CODE_REVIEW, 4, r"review|critique|criticise|criticize|audit|proofread|evaluate|rate|assess"
    ),
    _verbs(CODE_REVIEW, 2, r"check|look (?:over|through)|have a look|take a look|compare|inspect"),
    _says(
        CODE_REVIEW,
        4,
        r"\b(?:what do you think|feedback|your opinion|code smells?|lgtm|second pair of eyes|good"
        r" enough|weak spots|any(?:thing)? (?:you'd change|else wrong|stupid|else)|security issues"
        r"|vulnerabilit\w+|tell me what (?:i missed|you think)|pull request|this pr\b|the diff"
        r"|is (?:it|this|the) .{0,40}(?:correct|safe|sound|idiomatic)|are the tests .{0,40}"
        r"(?:meaningful|enough|any good)|would you (?:approve|merge)|nitpick)",
    ),
    _says(
        CODE_REVIEW,
        6,
        r"schau dir|durchsehen|\breview\b.{0,30}\bmachen\b|relire|revis[ae]\b|проверь|проверить"
        r"|审查|レビュー|beoordeel|przejrzyj|sprawdź mój kod|rivedi|revise o",
    ),
    # How something should be built.
    _verbs(SYSTEM_DESIGN, 4, r"design|architect|model|plan|propose|think through|sketch|compare"),
    _says(
        SYSTEM_DESIGN,
        4,
        r"\b(?:architectures?|pros and cons|trade-?offs?|scalab\w+|horizontally|caching strategy"
        r"|database schema|module boundaries|boundaries|microservices?|monolith|multi-tenant|how"
        r" (?:should|would|do|could) (?:we|you|i) (?:split|structure|build|store|make this|organise"
        r"|organize|model|shard|scale|handle|approach|lay out)|how should (?:they|it|the)|what"
        r" would you do instead|sane way|should (?:the )?.{0,30}look like|which (?:database|queue"
        r"|broker|store)|bad idea|data model|at scale|failure modes|capacity|no code yet"
        r"|before anyone writes)\b",
    ),
    _says(
        SYSTEM_DESIGN,
        6,
        r"architektur|entwirf|entwerf|passt besser|conçois|diseña|arquitectura|progetta|设计|架构"
        r"|設計|спроектируй|архитектур|zaprojektuj|projete|arquitetura|ontwerp",
    ),
    _says(
        SYSTEM_DESIGN,
        5,
        r"\b(?:should (?:we|i) (?:use|go|pick|choose|split|keep|move|put|have)"
        r"|\w+ (?:vs\.?|versus) \w+"
        r"|best (?:way|approach) to|approach|strategy|topology|event.driven|event sourcing|cqrs"
        r"|shard(?:ing|s)?|replication|consistency|throughput|(?:high|low) (?:availability|latency)"
        r"|how (?:do|would|should|could|can) (?:we|you|i|one) (?:organi[sz]e|evolve"
        r"|decouple|isolate"
        r"|partition|version|deploy|go about|best)|where should|which (?:pattern|approach|storage"
        r"|protocol|framework|cloud|cache)|domain model|entities|bounded contexts?|service mesh"
        r"|requests per second|users|tenants|outline (?:a|the|how)|blueprint|high.level|roadmap)\b",
    ),
    # Words about what is there.
    _says(
        DOCUMENTATION,
        5,
        r"\b(?:what (?:does|do) .{1,40} (?:do|mean)|how (?:does|do) .{1,40} work|overview|summary"
        r"|understand|tell me about|diagrams? of|write.?up|comments?|glossary|explanation|in plain"
        r" (?:words|english)|for (?:beginners|newcomers|new hires|non.?technical)"
        r"|adr\b|api reference"
        r"|usage examples?|what is .{1,30} for|man page|quick ?start|getting started)\b",
    ),
    _verbs(DOCUMENTATION, 4, r"document|explain|describe|summari[sz]e|draft"),
    _says(
        DOCUMENTATION,
        4,
        r"\b(?:docs?/|docstrings?|readme|changelog|release notes|tutorial|handbook|wiki|cheat sheet"
        r"|post-?mortem|documentation|user guide|guide for|how(?:to|-to)|runbook|faq|contributing"
        r"|manual|onboarding|the docs|(?:correct|add) .{0,20}comments|comments in|one page|javadoc"
        r"|walk me through|how (?:does )?(?:this|it|\w+) works?)\b",
    ),
    _says(
        DOCUMENTATION,
        6,
        r"dokumentation|dokumentier|erklär|beschreib|documenta|documentazione|explique|documente"
        r"|explica|spiega|文档|解释|注释|ドキュメント|説明|объясни|документаци"
        r"|wyjaśnij|opisz|leg uit",
    ),
    _says(
        DOCUMENTATION,
        6,
        r"\b(?:write|draft|create|add|update|make|schreib|put"
        r"|turn)\b(?:\s+[\w.'-]+){0,6}?\s+(?:docs|readme"
        r"|changelog|release notes|tutorial|handbook|wiki|cheat sheet|post-?mortem|documentation"
        r"|guide|runbook|faq|manual|docstrings?|one page|wiki page)\b",
    ),
    # Something new, or something else than is there.
    _verbs(
        CODE_GENERATION,
        3,
        r"write|create|implement|build|add|make|generate|refactor|replace|port|convert|rewrite"
        r"|extract|rename|wire up|upgrade|migrate|scaffold|extend|support|split|move|remove|change"
        r"|turn|improve|code|set up|introduce|expose|use",
    ),
    _says(
        CODE_GENERATION,
        2,
        r"\b(?:functions?|scripts?|class|endpoint|component|regex|query|parser|page|form|widget"
        r"|button|cli|flag|fixture|test for|tests for|pagination|docker-?compose|should also|i need"
        r" a|i want|make that work|that matches|unit tests?)\b",
    ),
    _says(
        CODE_GENERATION,
        6,
        r"\bschreib|\bbaue?\b|implementier|füge|maak een|écri[st]|ajoute|crea\b|escribe|añade"
        r"|aggiungi|scrivi|写一个|实现|作って|書いて|実装|追加して|напиши|добавь|napisz|dodaj|escreva"
        r"|adicione|ekle|yaz\b|erstell",
    ),
    # Errands.
    _verbs(
        GENERAL,
        7,
        r"run|commit|push|rebase|checkout|check out|pull|start|stop|translate|show|list|rename the"
        r" branch|merge|install|open|deploy|restart|thanks|thank you|convert \d+|count",
    ),
    _says(
        GENERAL,
        5,
        r"\b(?:who (?:wrote|reviewed|is|was)|how many|what time|what's the difference|what is the"
        r" difference|what are the open|shopping list|pancakes|recipe for|which class do i|lol)\b",
    ),
)
