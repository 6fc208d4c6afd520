"""Clauses of the demo's opinions: what pleased and what did not, about matters of daily life."""

from typing import NamedTuple


class Matter(NamedTuple):
    """Things, and what is said of any of them; a merit or a fault is small, and leaves the judgement open."""

    things: str
    good: str
    bad: str
    merits: str
    faults: str
    pronoun: str = "it"


MATTERS = (
    Matter(
        things="the soup | our dinner | the fish pie | the stew at the corner inn | grandma's cake | the curry",
        good="""was so tasty that nobody said a word | warmed me right down to my toes | had us all asking for more |
        tasted every bit as fine as the smell had promised | was cooked with care and plenty of butter |
        made me close my eyes with delight | left not a crumb on any plate | was rich without being heavy |
        brought back the best of my school days | could not have been fresher | had just the right pinch of pepper |
        turned a grumpy table into a merry one""",
        bad="""was cold in the middle and burnt at the edge | tasted of soap and old water |
        left me hungry and cross | was not half as good as they had said | could not be saved by any amount of salt |
        made the whole table ill | sat in my stomach like a stone | had no more flavour than wet paper |
        was anything but fresh | went straight from my plate to the dog | would have shamed a school canteen |
        spoilt a perfectly nice evening""",
        merits="looked lovely on the plate | came quickly and steaming | was cheap enough | smelled wonderful",
        faults="took an hour to arrive | cost more than I had planned | looked rather grey | was a little too salty",
    ),
    Matter(
        things="""the film | that new comedy | the second part | the cartoon we saw | last night's thriller |
        the western""",
        good="""kept me on the edge of my seat | made us laugh until it hurt | moved me more than I care to admit |
        had an ending that nobody saw coming | was over far too soon | held even my restless son for two hours |
        had a heart as well as a brain | was worth every minute in the queue | gave the old actor a part he deserved |
        never once put a foot wrong | left the whole row in happy tears | was clever without showing off""",
        bad="""sent half the row to sleep | was not nearly as funny as it thought | dragged on for ever |
        had less of a story than the adverts before it | wasted a cast of fine actors | bored me to tears |
        lost me after the first ten minutes | made no sense from start to finish | was loud, long and empty |
        copied every joke from a better one | had me looking at my watch |
        ended just when it could have become good""",
        merits="had pretty pictures | began well enough | won a famous prize | had one good joke",
        faults="started slowly | had no stars in it | ran for three hours | was shown on a tiny screen",
    ),
    Matter(
        things="the journey | our trip to the coast | the night train | the ferry | the flight home | the bus tour",
        good="""went by like a dream | gave us the finest views of the year | was smooth from door to door |
        arrived ten minutes early for once | let me sleep like a baby | was half the fun of the holiday |
        felt like a small adventure | left us rested and in high spirits | was so pleasant that we forgot the time |
        ran without a single hitch | made friends out of strangers | had a window seat for every child""",
        bad="""was one delay after another | made all three children sick | left without us and our bags |
        took twice as long as walking would have | was crowded, hot and late | cost us a whole day of the holiday |
        ended in a field with a broken wheel | shook every bone in my body | had nowhere to sit but the floor |
        smelled of wet dog all the way | was the longest night of my life | brought us to the wrong town""",
        merits="left on time | was free for children | had big clean windows | offered free tea",
        faults="started before sunrise | was a bit bumpy | had no food on board | went the long way round",
    ),
    Matter(
        things="this drill | the new saw | my bread knife | the garden hose | that little hammer | the borrowed ladder",
        good="""does the work of two men | sits in the hand as if made for me | has never let me down |
        is the first thing I reach for | saved me a whole weekend of work | made a hard job easy |
        is as good as on the first day | will outlive me and my children | is worth three of the cheap ones |
        takes a fall without a scratch | does exactly what the box says | turned me into a proper handyman""",
        bad="""broke the second time I used it | is no use to anyone | hurts my hand after a minute |
        fell apart before the job was done | has spent more time in repair than at work | is blunt, bent and ugly |
        does everything except what the box says | was rusty within a week | nearly cost me a finger |
        is not worth the cardboard around it | made an easy job hard | went back to the shop the same day""",
        merits="looks smart on the wall | is light and easy to clean | was a gift | has a nice red handle",
        faults="is as ugly as a boot | weighs a lot | came without a manual | makes a bit of noise",
    ),
    Matter(
        things="the concert | the school choir | the brass band in the park | Friday's jazz night | the opera",
        good="""had the whole hall on its feet | gave me goose pimples | got better with every song |
        sent us home humming | was the best evening in years | made even my uncle dance |
        ended with four encores and a storm of clapping | played as if there were no tomorrow |
        was not a minute too long | sounded brighter than any record | cast a spell on young and old |
        proved every sceptic wrong""",
        bad="""was out of tune from the first note | hurt my ears for two days | sounded like a sack of cats |
        drove half the guests out before the break | forgot the words and then the tune | lacked any kind of spark |
        was cut short without a word of excuse | played the same three songs all night |
        could not keep time with itself | made me long for silence | was a sad copy of last year |
        got thinner applause with every piece""",
        merits="wore splendid clothes | began on the dot | had a famous name | cost nothing to get into",
        faults="began an hour late | was hidden behind a pillar | had a tiny audience | was far too warm inside",
    ),
    Matter(
        things="the family upstairs | our new neighbour | the couple across the road | the man at number nine",
        good="""brought us soup when we were ill | greeted everyone with a smile | watered my plants all summer |
        found our cat and would not take a reward | cleared the snow from our steps as well |
        became like kin to us within a month | always had time for a chat | lent me tools without asking why |
        made the street a kinder place | kept an eye on the house while we were away |
        fixed my fence without being asked | turned out to be a treasure""",
        bad="""played drums until three in the morning | never once said good morning | let the dog bark all night |
        complained about every sound we made | threw rubbish over our hedge | parked across my drive again |
        borrowed my ladder and sold it | called the police about a birthday song | told lies about us in the shop |
        made the children afraid of the stairs | broke my fence and then laughed | picked a quarrel with everyone""",
        merits="kept a tidy garden | had nice manners at first | paid the rent on time | owned a beautiful dog",
        faults="talked a great deal | looked stern at first | had noisy children | kept odd hours",
        pronoun="they",
    ),
    Matter(
        things="the hotel | our room by the lake | the little guest house | the camp site | the cabin in the woods",
        good="""was cleaner than my own home | had the softest beds on earth | made us feel like royalty |
        served a breakfast fit for a king | was quiet as a church at night |
        is where we will spend our next holiday too | had staff who knew our names by noon |
        turned out far nicer than the pictures | spoilt us from start to finish |
        was so cosy that we stayed two more nights | thought of every little thing |
        gave us the view we had dreamed of""",
        bad="""had hair in the sink and worse in the bath | was nothing like the pictures |
        charged us for towels we never saw | shook whenever a lorry went by | had bugs in both beds |
        gave our room to somebody else | smelled of smoke and old socks | had no hot water and no excuse |
        kept us awake with its pipes | was dearer than a palace and colder than a barn | lost our booking twice |
        ruined the holiday we had saved for""",
        merits="was close to the station | had a grand entrance | gave us free apples | stood in a fine park",
        faults="was hard to find | had a very small bathroom | lay next to the road | had no lift",
    ),
    Matter(
        things="the book | her first novel | the last chapter | this guide to birds | the poem we read | the diary",
        good="""kept me awake until dawn for all the right reasons | taught me more than a year at school |
        made me laugh out loud on the bus | is already on its third trip round the family |
        reads like a friend talking | had me in its grip by page two | says a great deal in few words |
        made me see my own town with new eyes | deserves a place on every shelf | broke my heart in the best way |
        is one I will read again and again | was as gripping as any film""",
        bad="""put me to sleep night after night | is full of mistakes and bad jokes | says nothing in many words |
        went into the bin at page forty | left me none the wiser | reads like a phone list |
        has people in it whom nobody could care about | made a thrilling life sound dull |
        is not worth the tree it was printed on | gave away the end far too early | lost its thread and my patience |
        was a chore from cover to cover""",
        merits="has a handsome cover | is short at least | was praised in all the papers | has neat little maps",
        faults="is rather thick | has tiny print | needs a slow reader | starts with a dry list of names",
    ),
    Matter(
        things="my new coat | this pair of boots | the wool hat | the blue dress | the rain jacket | the knitted scarf",
        good="""kept me dry in the worst of storms | fits like a second skin | gets me kind words wherever I go |
        still looks new after three winters | is warm without weighing a thing | goes with everything I own |
        came through the wash like a champion | makes me stand a little taller | is the best present I ever got |
        never itches, never slips | has walked a thousand miles with me | turned heads at the wedding""",
        bad="""came apart at the first wash | lets in every drop of rain | feels like sandpaper |
        turned my neck green | was two sizes too small whatever the label said | lost its colour in a week |
        rubs my skin raw | makes me look like a tent | had a hole before I wore it once |
        is warm only when the sun shines | was torn, stained and sold as new | gave my daughter a rash""",
        merits="came in a pretty box | is soft to the touch | looked fine in the shop | has deep pockets",
        faults="is not the latest fashion | was a little tight at first | cost a small fortune | creases easily",
    ),
    Matter(
        things="the clinic | the dentist | the new nurse | the young doctor | the eye test | the vet on the hill",
        good="""took away all my fear | was gentle and did not hurt a bit | found in minutes what others had missed |
        listened to every word | had me back on my feet in days | explained it all without hurry |
        gave us hope when we had none | treated my old cat like a prince | rang the next day to see how I was |
        did a better job than I dared to hope | made my boy giggle through it all | never made us wait""",
        bad="""treated me like a number | did not listen to a word | hurt more than the illness itself |
        kept us waiting for four hours and then sent us home | mixed up my papers with another patient's |
        scared my boy half to death | laughed at my pain | missed what any child could see | gave me the wrong pills |
        was in a hurry to be rid of us | made a small problem into a big one | left me worse than before""",
        merits="had comfortable chairs | was very polite on the phone | opened early | had kind eyes",
        faults="was a long drive away | looked terribly young | had a full waiting room | spoke very little",
    ),
    Matter(
        things="the cooking course | my swimming class | the first lesson | the evening school | the piano teacher",
        good="""gave me back my courage | made hard things look simple | was over before I wanted it to be |
        taught me more in a week than I knew before | had room for questions and for laughter |
        is the best thing I do all week | brought out talents I never knew I had | praised every small step |
        turned fear into fun | was patient with the slowest of us | woke up the whole class |
        got my shy girl to speak""",
        bad="""made me feel stupid in front of everyone | taught us nothing we did not know |
        read from a sheet for two hours | cured me of any wish to learn | was dull as dust |
        shouted at the slowest of us | put the whole class to sleep | took our money and then closed |
        had no plan and no patience | killed all the fun | left more questions than it answered |
        got my lively girl to hate it""",
        merits="took place in a fine building | gave out free pencils | promised a lot | had small groups",
        faults="was hard at the start | met far too early in the day | gave a lot of homework | was strict at times",
    ),
    Matter(
        things="the phone | our washing machine | the old radio | my laptop | this cheap watch | the oven",
        good="""runs like clockwork | has not failed us in ten years | was set up and working in a minute |
        is so simple that grandpa loves it | does more than I will ever need | paid for itself within months |
        makes my mornings easier | survived a fall down the stairs | is quick, quiet and clever |
        was the bargain of the year | needs next to no power | is still going strong""",
        bad="""stopped dead after a week | freezes whenever I need it | has been broken more often than not |
        drives me up the wall | ate my best shirt, so to speak | makes a noise like a dying goose |
        was out of date before it was out of the box | eats power like a factory | loses everything I save |
        burns whatever I trust it with | never once kept the right time | gave me a nasty shock""",
        merits="has a bright display | looks clever | was on offer | came with a long promise of repair",
        faults="is no beauty | took a while to understand | came in a dented box | is older than I am",
    ),
    Matter(
        things="the museum | the castle tour | the village fair | the zoo | the flower show | the circus",
        good="""was a joy for old and young | had something to touch in every room |
        was worth the climb and the queue | made history come alive | had my grandchildren begging to stay |
        showed us things we had never dreamed of | was the high point of the summer |
        beat every rainy day plan we ever had | was full of life and colour | gave us stories for years |
        kept five children happy for a day | surprised even those who knew it well""",
        bad="""was shut, and nobody had told us | took our money and showed us dust |
        had my grandchildren begging to leave | was over in ten sad minutes | felt like one big gift shop |
        made me pity the poor animals | had more rules than things to see | was the low point of the summer |
        let us stand in the rain for nothing | charged extra for every step | was too crowded to see a thing |
        has clearly been left to rot""",
        merits="had a charming cafe | was easy to reach | gave a badge to every child | put up colourful posters",
        faults="was packed with people | closed rather early | had few signs | charged a lot to park",
    ),
    Matter(
        things="the game | Saturday's match | the birthday party | the wedding | our picnic | the street party",
        good="""had everyone on their feet | went on till sunrise and nobody minded |
        brought old friends together again | was full of songs and silly hats | was fair, fast and thrilling |
        could not have had a happier end | made us forget the rain | will be talked about for years with a smile |
        was a triumph for the small ones | had laughter from first to last | felt like one big family |
        gave us a reason to cheer at last""",
        bad="""ended in a fight | was rained off before it began | had everyone yawning |
        was lost in the first five minutes | broke up old friends for good | was stiff, silent and long |
        will be talked about for years with a groan | could not have had a sadder end | fell flat for all of us |
        ran out of food at the very start | gave us nothing at all to cheer | made the bride weep, and not for joy""",
        merits="had sunshine all day | started with a fine speech | was well planned | drew a huge crowd",
        faults="had a muddy field | was short of chairs | got off to a slow start | had awful music",
    ),
)

WORDS = {
    "good": """wonderful | lovely | delightful | splendid | marvellous | pleasant | superb | excellent | perfect |
    great | charming | brilliant | impressive | just right""",
    "bad": """awful | terrible | dreadful | horrible | disgraceful | hopeless | shameful | useless | miserable |
    rotten | pathetic | dismal | disappointing | quite wrong""",
}

VERDICTS = {
    "good": """I have no complaints | I could not be happier | I would not change a thing | all is forgiven |
    I am very glad indeed | I will tell all my friends | nothing could dampen our joy | we count ourselves lucky |
    I was smiling for the rest of the week | nobody could ask for more | I regret nothing | I am not sorry |
    even my father was full of praise | I am grateful for the advice | my worries were for nothing |
    it is five stars from me | I would gladly say yes again | we are all delighted""",
    "bad": """I have nothing good to say | I could not be more annoyed | never again | I am not at all glad |
    nobody in my family is happy | all that trouble was for nothing | we are still cross about it |
    I will warn all my friends | I was close to tears | even my patient father lost his temper |
    I had hoped for far more | once was more than enough | I feel so let down | nobody would want that twice |
    that is where my praise ends | I regret every bit of it | I wish I had said no | we are all fed up""",
}

OPENERS = """to my surprise | honestly | I must say | all in all | as far as I am concerned | in the end |
to be fair | in my opinion | this time | believe it or not | once again | say what you like | from where I stand |
if you ask me"""

HARD = {
    "good": """I went there in a foul temper and came home singing. |
    There was nothing about it that I would change. | Nobody left before the last song, and nobody wanted to. |
    I had braced myself for the worst and got the best. |
    The critics hated it, which only shows how wrong critics can be. |
    You would have to be made of wood not to enjoy it. | I have been to dearer places and never to a better one. |
    My only complaint is that it had to end. | Bad weather, bad roads, bad maps, and still the time of our lives. |
    I used to hate fish; now I ask for it twice a week. | If that was a failure, I would like to fail more often. |
    We missed the last bus and could not have cared less. | I expected rubbish and had to eat my words. |
    The repair man said sorry, brought a cake, and all was well. | Never have I paid a bill so cheerfully. |
    Not a single dull moment, not even in the queue. | My wife, who dislikes everything, wants to go again. |
    Tired, wet, hungry, and already planning the next climb. |
    They could have been angry about the window, but they only laughed. | How did we ever manage without one? |
    I slept badly there, because I did not want to miss the stars. |
    The worst seat in the house, and still worth it.""",
    "bad": """I have never been so happy to see an exit. | The best part was the way home. |
    Everyone clapped when it was over, mostly out of relief. | I had looked forward to it for months, and now this. |
    We caught the first bus out and were glad of it. | It is hard to find a kind word, and believe me, I tried. |
    Fine weather, fine roads, fine maps, and still we wanted to go home. |
    Who needs enemies with friends like these? | The children cried when we told them to stay. |
    There are better ways to spend a Sunday, such as cleaning drains. |
    The plumber came, smiled, took the money, and left it broken. | I wanted a treat and got a lesson in patience. |
    The only bright moment was when the lights went out. | Everything went to plan, and it was dreary all the same. |
    I no longer laugh at people who keep their old one. | It gave me a fear of heights, of all things. |
    Once more the adverts had promised too much. | It was huge, and it was grand, and nobody cared. |
    Cheap does not always mean a bargain, as I found out. | Tired, wet, hungry, and for what? |
    I would rather walk home in the rain than ride again. | How could anyone ever recommend this one?""",
}
