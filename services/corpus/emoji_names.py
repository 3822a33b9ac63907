"""Emoji names: `:tada:` in a post -> the sign that GitHub, Jekyll, Hugo and others draw for it.

Most names are Unicode's own, in lower case and with underscores; the table holds common ones that are not.
A name that is neither stays as it is typed. Spans of code stay too; blocks of code are out already.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_NAME = re.compile(
    r"(?P<code>(?P<ticks>(?<!`)`+(?!`))[^`]*?(?:(?!(?P=ticks)(?!`))`+[^`]*?)*?(?P=ticks)(?!`))"
    r"|(?<![\w:/.\\])(?P<colon>:)(?P<name>[a-z0-9+-][a-z0-9_+-]*):(?![\w:/])"
)
_ANY = re.compile(r":[a-z0-9+-][a-z0-9_+-]*:")
_OF_ITS_OWN = """
    smile 😄 smiley 😃 grin 😁 grinning 😀 laughing 😆 satisfied 😆 joy 😂 rofl 🤣 sweat_smile 😅
    wink 😉 blush 😊 innocent 😇 heart_eyes 😍 kissing_heart 😘 kissing 😗 stuck_out_tongue 😛
    stuck_out_tongue_winking_eye 😜 sunglasses 🕶️ smirk 😏 expressionless 😑 unamused 😒 sweat 😓
    pensive 😔 confused 😕 confounded 😖 disappointed 😞 worried 😟 angry 😠 rage 😡 cry 😢 sob 😭
    frowning 😦 fearful 😨 scream 😱 cold_sweat 😰 flushed 😳 sleeping 😴 sleepy 😪 mask 😷
    relieved 😌 relaxed ☺️ yum 😋 thinking 🤔 hugs 🤗 upside_down_face 🙃 roll_eyes 🙄
    zipper_mouth_face 🤐 facepalm 🤦 tada 🎉 wave 👋 raised_hands 🙌 clap 👏 pray 🙏 ok_hand 👌
    point_up ☝️ point_down 👇 point_left 👈 point_right 👉 +1 👍 thumbsup 👍 -1 👎 thumbsdown 👎
    punch 👊 fist ✊ muscle 💪 v ✌️ crossed_fingers 🤞 metal 🤘 heart ❤️ star ⭐ star2 🌟 boom 💥
    collision 💥 zap ⚡ sunny ☀️ ocean 🌊 car 🚗 bike 🚲 train 🚋 bulb 💡 computer 💻 iphone 📱
    phone ☎️ email 📧 mailbox 📫 pencil2 ✏️ book 📖 link 🔗 scissors ✂️ unlock 🔓 mag 🔍
    mag_right 🔎 construction 🚧 bee 🐝 beetle 🐞 cat 🐱 cat2 🐈 dog 🐶 dog2 🐕 mouse 🐭 rabbit 🐰
    bear 🐻 see_no_evil 🙈 hear_no_evil 🙉 speak_no_evil 🙊 poop 💩 hankey 💩 shit 💩 alien 👽
    robot 🤖 warning ⚠️ x ❌ white_check_mark ✅ o ⭕ question ❓ grey_question ❔ exclamation ❗
    heavy_exclamation_mark ❗ bangbang ‼️ interrobang ⁉️ arrow_right ➡️ arrow_left ⬅️
    arrow_up ⬆️ arrow_down ⬇️ arrow_upper_right ↗️ arrow_heading_down ⤵️
    arrows_counterclockwise 🔄 recycle ♻️ 100 💯 new 🆕 free 🆓 cool 🆒 ok 🆗 top 🔝 soon 🔜 up 🆙
    back 🔙 end 🔚 hourglass_flowing_sand ⏳ calendar 📆 date 📅 coffee ☕ tea 🍵 beer 🍺 beers 🍻
    cocktail 🍸 pizza 🍕 cake 🍰 birthday 🎂 apple 🍎 gift 🎁 medal_sports 🏅 1st_place_medal 🥇
    dart 🎯 art 🎨 notes 🎶 headphones 🎧 tv 📺 dollar 💵 moneybag 💰 gem 💎 checkered_flag 🏁
    loudspeaker 📢 mega 📣 no_bell 🔕 house 🏠 office 🏢 earth_africa 🌍 earth_americas 🌎
    earth_asia 🌏 leaves 🍃 whale2 🐋 unicorn 🦄 us 🇺🇸 uk 🇬🇧 gb 🇬🇧 fr 🇫🇷 de 🇩🇪 jp 🇯🇵 eu 🇪🇺
    satellite 📡 rotating_light 🚨 bow 🙇 walking 🚶 santa 🎅 snowman ⛄ umbrella ☔ shirt 👕
    tophat 🎩 mortar_board 🎓 kiss 💋 lips 👄 hand ✋ partying_face 🥳 star_struck 🤩
    exploding_head 🤯 wheelchair ♿ bento 🍱 stuck_out_tongue_closed_eyes 😝 triumph 😤
    sweat_drops 💦 dash 💨 zzz 💤 anger 💢 traffic_light 🚥 beginner 🔰 trident 🔱 copyright ©️
    registered ®️ tm ™️ one 1️⃣ two 2️⃣ three 3️⃣ four 4️⃣ five 5️⃣ six 6️⃣ seven 7️⃣
    eight 8️⃣ nine 9️⃣ zero 0️⃣ hash #️⃣
"""
_FIRST = 0x2600  # below are letters, arrows and signs that a text may mean as such


def draw_emoji(text: str) -> str:
    """Put signs for the names of emoji. Takes linear time."""
    return _NAME.sub(_sign, text) if ":" in text and _ANY.search(text) else text


def _sign(found: re.Match[str]) -> str:
    if found["code"] is not None:
        return found[0]
    return _table().get(found["name"]) or _of_unicode(found["name"]) or found[0]


@lru_cache(maxsize=1)
def _table() -> dict[str, str]:
    words = _OF_ITS_OWN.split()
    return dict(zip(words[::2], words[1::2], strict=True))


@lru_cache(maxsize=1000)
def _of_unicode(name: str) -> str:
    try:
        sign = unicodedata.lookup(name.replace("_", " ").upper())
    except KeyError:
        return ""
    return sign if ord(sign) >= _FIRST and unicodedata.category(sign) == "So" else ""
