"""The words of mail servers that say plainly what is wrong.

They come from the documentation and the replies of the servers that people use: Postfix, Exim, Sendmail, qmail, Exchange, Domino, Gmail,
Outlook, Yahoo and others. They are matched after addresses and codes were taken out, so nothing in an address is taken for a word.
"""

import re

from domain.delivery_faults.causes import Cause

_ADDRESS = re.compile(r"<[^<>\s]*>|[^\s<>()\[\]:;,]+@[^\s<>()\[\]:;,]+")
_CODES = re.compile(r"(?<![\d.])[245](?:\d\d(?=[\s-])|\.\d{1,3}\.\d{1,3})(?![\d.])")
_SPACE = re.compile(r"[\s\"'`´‘’_*-]+")

_WHO = r"(?:user(?: ?name| ?id)?|recipients?|rcpt|mail ?box|account|address|addressee|alias|e ?mail(?: address| account)?|local ?part|person|customer|member|mail ?drop)"
_NOT_THERE = (
    r"(?:(?:is |was |were |are )?(?:unknown|un ?known|not found|not known|invalid|non ?existent|inexistent|not exists?|unrouteable|unroutable|undeliverable)"
    r"|(?:could|can|was|were|is) ?(?:not|nt) (?:be )?(?:found|located|known|valid|a valid|listed)"
    r"|(?:does|do|did) ?(?:not|nt|n t) (?:appear to )?exists?|(?:does|do) ?(?:not|nt|n t) have an?\b.{0,40}\baccount"
    r"|(?:is )?not (?:listed|present|valid|recognized|recognised|a valid|a known|an? active|local\b)|no longer (?:available|valid|active|in use|exists?|on|at|with|accepts?|here))"
)


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


# In this order: the first that is found decides. What is certainly about us comes before what may be about the recipient.
_BLOCKLISTED = _any(
    r"black ?list(?!ed by (?:the )?recipient)",
    r"block ?list",
    r"\b(?:dns|rb|uri?|su)bls?\b",
    r"\brbls?\b",
    r"spamhaus|spamcop|barracudacentral|sorbs|senderscore|mail abuse\.|invaluement|uceprotect",
    r"blocked using",
    r"(?:poor|bad|low|very low) (?:domain |ip |sender )?reputation|reputation (?:is )?(?:too )?(?:low|poor|bad|very low)|due to .{0,30}reputation",
    r"banned (?:sending ip|sender)",
    r"\b(?:your|sending|source|sender|client|connecting) (?:ip|host|server|mail server|network|domain)\b.{0,60}\b(?:block|list|ban|reject|denied|refus|spam)",
    r"\bip\b.{0,40}\b(?:is|was|has been) (?:block|list|ban|reject|denied|refus)",
    r"client host rejected|connections? (?:from|will) .{0,60}not (?:be )?accepted|not (?:allowed|authorized) to connect",
)
_NOT_AUTHENTICATED = _any(
    r"\bspf\b|\bdkim\b|\bdmarc\b|\barc\b.{0,20}fail|sender policy framework|domain ?keys",
    r"unauthenticated (?:e ?mail|mail|message|sender)|(?:sender|message|mail) (?:is |was )?(?:not |un ?)authenticated",
    r"authentication checks? fail|fails? (?:sender )?authentication|not pass authentication",
    r"\bptr\b|reverse (?:dns|host ?name|lookup)|rdns|cannot find your (?:reverse )?host ?name|\b(?:helo|ehlo)\b.{0,40}(?:invalid|reject|not|bad|fail)",
)
_SENDER_ADDRESS = _any(
    r"\b(?:sender|mail from|envelope from|return path|from address|envelope sender|originator)\b.{0,60}"
    r"\b(?:reject|refus|denied|deny|invalid|unknown|not (?:exist|found|allowed|permitted|authorized|accepted|verified|valid|owned)|does ?n[o ]?t|fail|unverified|blocked|undeliverable|not a valid)",
    r"(?:invalid|bad|unknown|unverified|unable to verify|could not verify|cannot verify|verify) (?:the )?(?:envelope )?(?:sender|from|return path)",
    r"domain of sender|sender domain|sender verif|sender callout|callback verification",
    r"not (?:permitted|allowed|authorized|authorised) to (?:send|use)|send ?as ?denied|not owned by user",
    r"e ?mail address is not verified",
)
_SENDING_LIMIT = _any(
    r"(?:daily|hourly|monthly|sending|outbound|outgoing|submission|rate|connection)\b.{0,40}\b(?:limit|quota)\b",
    r"(?:messages?|mail|e ?mails?) (?:rate |sending |submission |count )?(?:limit|quota)\b",
    r"(?:exceed|over|reach)\w*\b.{0,40}\b(?:daily|hourly|sending|outbound|message|mail|messages|rate) (?:rate |sending |message )?(?:limit|quota)",
    r"too many (?:messages|mails|connections|concurrent|sessions|e ?mails|invalid recipients|recipients)|throttl|too (?:fast|quickly)|ratelimit|rate limit",
)
_RELAYING_DENIED = _any(
    r"\brelay(?:ing)?\b.{0,40}\b(?:denied|prohibited|reject|disallowed|forbidden|refused|disabled|not (?:permitted|allowed|accepted|authorized|authorised))",
    r"(?:unable|not (?:permitted|allowed|authorized|authorised|configured)|cannot|can not|refuse|do not|does not|wo ?n ?t) (?:to )?relay|no relay(?:ing)?\b|open relay|relaying ?mail|must not relay",
    r"rcpt ?hosts|not (?:a )?gateway|we do ?n[o ]?t relay",
)
_TOO_LARGE = _any(
    r"(?:message|mail|e ?mail|size|content|attachments?)\b.{0,40}(?:too (?:large|big)|exceeds?\b.{0,40}\b(?:size|maximum|limit|fixed)|larger than)",
    r"message (?:is )?too long|(?:maximum|max|fixed) (?:inbound )?(?:message |mail )?size|(?:message|mail) (?:size|length) (?:exceeds?|limit)|exceeds? (?:the )?(?:size|maximum message)",
)
_MAILBOX_FULL = _any(
    r"over ?quota|quota (?:is |has been |was )?(?:exceed|full|reach)|exceed\w*\b.{0,40}\bquota|out of (?:disk ?)?(?:space|storage|quota)|disk ?quota|quota violation",
    r"(?:mail ?box|inbox|account|folder|maildir|user|recipient)\b.{0,40}\b(?:full|exceed\w* .{0,30}(?:size|storage|limit|space))",
    r"not enough (?:storage|space|disk)|(?:mail ?box|recipient) (?:storage )?(?:is )?(?:almost )?full|exceeded storage allocation|insufficient (?:mailbox|disk) ?(?:space|storage|quota)",
    r"boite .{0,20}pleine|buz[oó]n .{0,10}lleno|casella .{0,20}piena|postfach .{0,10}voll",
)
_NO_DOMAIN = _any(
    r"(?:domain(?: name)?|host(?: or domain name)?)\b(?:(?!user|recipient|said|mailbox|address|account).){0,40}(?:not found|does ?n[o ]?t exist|unknown|not exist)",
    r"(?:no such|unknown|invalid|bad destination) (?:domain|host|system)|nxdomain|bad destination system",
    r"no (?:valid )?mx\b|no mail ?server|unrouteable (?:mail )?domain|unroutable (?:mail )?domain|all relevant mx records point to non ?existent",
)
_NO_MAIL = _any(r"null ?mx|(?:domain|host|server) (?:does ?n[o ]?t|never) (?:accept|receive)s? (?:e ?)?mail|nullmx")
_MOVED = _any(
    r"(?:has|have) (?:been )?(?:moved|changed) (?:to|address|their|his|her|its)|moved (?:permanently )?to|new (?:e ?mail )?address is|address has changed",
)
_DISABLED = _any(
    rf"{_WHO}\b.{{0,60}}\b(?:(?:is|has been|was|been|are) )?(?:temporarily )?(?:disabled|deactivated|suspended|discontinued|terminated|expired|inactive|closed|locked|not active|archived|cancell?ed|removed|deleted|frozen)",
    r"(?:disabled|deactivated|suspended|inactive|closed|expired|terminated|archived|discontinued) (?:user|mail ?box|account|recipient|address|e ?mail)",
)
_NO_MAILBOX = _any(
    rf"\b{_WHO}\b.{{0,80}}?\b{_NOT_THERE}",
    rf"(?:unknown|no such|invalid|non ?existent|bad|incorrect|wrong|unrouteable|unroutable|no) (?:or (?:unknown|invalid|illegal|misspelled) )?(?:local |virtual |destination |e ?mail |mail |smtp |final |delivery |envelope |forward |valid )*{_WHO}",
    r"no such (?:person|name|local|entry)|no one (?:with|by|here|at)|nobody (?:here|with)|there is no (?:one|such|user|mailbox|account)",
    r"no ?(?:mail)? ?box here|not (?:our|a) (?:customer|user|valid (?:user|mailbox|recipient|address|account))|not in (?:our|the) (?:name )?directory|not listed in|not (?:a )?local address",
    r"mailbox (?:is )?un ?av(?:ai|ia)la?ble|resolver\.adr\.(?:ex)?recip\w*|recipnotfound|recipientnotfound|userunknown|badrcptto|validrcptto|notfound\b.{0,20}recipient",
    r"address(?:es)? (?:you (?:sent|entered|tried)|that you tried) .{0,60}(?:not|n t)|destination addresses were unknown|email account that you tried to reach",
    r"(?:usuario|utente|usu[aá]rio|utilisateur|utilizador|destinatario|destinat[aá]rio|destinataire|indirizzo|adresse|empf[aä]nger|benutzer|teilnehmer|adres|odbiorca)\b.{0,40}"
    r"(?:desconocid|desconhecid|sconosciut|inconnu|inexistent|no existe|n[aã]o existe|n existe pas|invalid|unbekannt|existiert nicht|nie istnieje|errato|onbekend|introuvable)",
)
_ACCESS_DENIED = _any(r"recipient address rejected access denied")
_CONTENT = _any(
    r"spam|virus|malware|phish|unsolicited|bulk ?mail|junk|content (?:reject|filter|restrict|block)|(?:prohibited|forbidden|suspicious) (?:content|attachment|file|url|link)",
    r"potential security issue|message content (?:was |has been )?(?:rejected|blocked|refused)|message looks like|scored too high",
)
_POLICY = _any(
    r"\bpolic(?:y|ies)\b|access (?:is )?denied|not (?:accepted|allowed|authorized|authorised|permitted|whitelisted)|administrative(?:ly)? prohibit|prohibition|denied by|blocked|(?<!connection )refused|rejected|denied",
)
_NOT_YET = _any(r"grey ?list|gray ?list|is receiving (?:e ?)?mail (?:too quickly|at a rate)")

_CERTAIN = (
    (_NOT_YET, Cause.NOT_SAID),
    (_BLOCKLISTED, Cause.BLOCKLISTED),
    (_NOT_AUTHENTICATED, Cause.NOT_AUTHENTICATED),
    (_SENDER_ADDRESS, Cause.SENDER_ADDRESS),
    (_RELAYING_DENIED, Cause.RELAYING_DENIED),
    (_TOO_LARGE, Cause.TOO_LARGE),
    (_SENDING_LIMIT, Cause.SENDING_LIMIT),
    (_MAILBOX_FULL, Cause.MAILBOX_FULL),
    (_NO_MAIL, Cause.NO_MAIL),
    (_NO_DOMAIN, Cause.NO_DOMAIN),
    (_MOVED, Cause.MOVED),
    (_DISABLED, Cause.DISABLED),
    (_NO_MAILBOX, Cause.NO_MAILBOX),
)
# Only where the code says nothing: these words stand in every kind of refusal.
_HINTS = ((_CONTENT, Cause.CONTENT), (_POLICY, Cause.POLICY))
_SAYS_NOTHING = re.compile(r"[245]\.[0124]\.0")


def cause_of(text: str, code: str | None) -> Cause | None:
    """What the words say plainly; None where they say nothing, or less than the code. code: the enhanced one."""
    plain = _plain(text)
    for pattern, cause in _CERTAIN:
        if pattern.search(plain):
            return cause
    if code is not None and code[2:] == "4.1" and _ACCESS_DENIED.search(plain):
        return Cause.NO_MAILBOX  # Exchange Online's directory-based edge blocking
    if code is None or _SAYS_NOTHING.fullmatch(code) or code[2:] in ("7.0", "7.1"):
        return next((cause for pattern, cause in _HINTS if pattern.search(plain)), None)
    return None


def _plain(text: str) -> str:
    """Lower case, on one line, without addresses, codes and punctuation between words."""
    without = _CODES.sub(" ", _ADDRESS.sub(" ", text.lower()))
    return _SPACE.sub(" ", re.sub(r"[:;,!?()\[\]#]+", " ", without)).strip()
