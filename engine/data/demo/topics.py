"""Clauses of the demo's four topics: what happens in the kitchen, in the garden, in the sky, and in music."""

from typing import NamedTuple


class Topic(NamedTuple):
    """Whole scenes, what people did, words of a topic that a sentence about another may mention, and hard sentences."""

    scenes: str
    acts: str
    asides: str
    hard: str


PEOPLE = """my aunt | the old man | both children | our neighbour | the student from the third floor | grandfather |
the twins | a friend of mine | my cousin | the new teacher | our postman | the baker's wife | everyone in the house |
a quiet girl | the doctor | my eldest brother | two strangers | the whole class"""

MOMENTS = """in the afternoon | last Sunday | before anyone else was up | once more | at the end of May |
all day long | for the third time this week | as always | after a long wait | on my birthday | while we talked |
without a word | just before midnight | much too early | for the first time | with great care |
in front of everybody | again and again | last winter | until it grew dark"""

REMARKS = """which came as no surprise | and nobody knew why | as it does every year | or so I was told |
and that was only the beginning | just as we had feared | and we were glad of it | which made us laugh |
and I wrote it down | to the delight of the neighbours | as the old people had said |
and everything else had to wait"""

TOPICS = {
    "kitchen": Topic(
        scenes="""the butter had melted in the pan | bread was rising under a cloth | the stew needed another hour |
        the kettle whistled and the cups stood ready | milk boiled over and hissed on the stove |
        the knife went through the onion in one cut | flour covered the table and the floor |
        dinner was late because the oven would not light | the sauce turned thick and brown |
        a pinch of salt was all that it lacked | the recipe asked for six eggs and a lemon |
        soup simmered at the back of the stove | the dishes were piled up beside the sink |
        the cake sank the moment the oven door was opened | garlic sizzled in hot oil |
        the fridge held nothing but cheese and half a pear | noodles stuck to the bottom of the pot |
        the dough was too wet to roll | a smell of cinnamon came from the stove | the rice had drunk all the water |
        the frying pan is older than I am | sugar turned to caramel in a minute | the roast rested under foil |
        the toast was black on one side | pepper got into everything | the lid rattled on the pot |
        there was jam on every spoon | the pancakes were thin and golden | the blender leaked all over the counter |
        tea was poured for six""",
        acts="""peeled a whole bag of potatoes | beat the egg whites until they were stiff | stirred the porridge |
        burnt the toast | chopped leeks and carrots for the broth | baked two loaves of rye bread |
        tasted the sauce and reached for the salt | washed up and dried the plates | kneaded the dough |
        fried fish in a little oil | grated cheese over the noodles | scrubbed the oven | set the table for eight |
        made jam from the last plums | forgot the yeast | warmed up what was left of the stew |
        spilled flour on the floor | licked the spoon | sharpened the knives | rolled out the pastry |
        filled the kettle | squeezed three lemons | cooked for twenty guests | hid the biscuits above the stove""",
        asides="""over a cup of tea | with flour on both hands | while the oven was heating |
        with a mouth full of cake | between breakfast and lunch | instead of doing the dishes |
        before dinner was on the table | with a wooden spoon in one hand""",
        hard="""The herbs we had picked went straight into the pot. | She hummed and hummed until the jelly had set. |
        Steam hung like fog above the sink. | Thyme, sage and a leaf of bay, and then the lid goes on. |
        The tomatoes were skinned, crushed and left to bubble. | He drummed on the lid and waited for it to boil. |
        It all came down to heat, patience and a clean cloth. | Beans again, and this time with bacon. |
        The ice went into the glasses, not on the window. | A storm of sugar came down on the apple pie. |
        Roses of marzipan stood round the edge. | Nothing sings like a kettle on a cold morning. |
        The pears from our tree are best with cheese and honey. | Only the plates knew what we had for supper.""",
    ),
    "garden": Topic(
        scenes="""the roses opened overnight | weeds came up between the stones | the beans had climbed to the roof |
        slugs had eaten every leaf of the lettuce | the hedge has grown over the gate | the soil was dry and hard |
        bees hummed in the lavender | the apple tree bore no fruit | the lawn wants cutting | tulips stood in rows |
        a mole had dug up half the lawn | the compost was warm and full of worms | the first snowdrops are out |
        the pumpkins have grown bigger than the dog | moss spread under the old pear tree | the seeds never came up |
        a blackbird pulled a worm from the flower bed | the shed was full of pots and rakes |
        ivy covered the wall from end to end | the carrots were crooked but sweet | the pond was green with weed |
        nettles had taken over the far corner | the cherry tree was white with blossom | the spade broke in the clay |
        the peas need sticks to climb on | the tomatoes behind the glass ripened first |
        the grass was full of daisies | a hedgehog slept under the leaves | bulbs lie ready in a box |
        the strawberries hid under straw""",
        acts="""planted three rows of potatoes | raked up the leaves | pulled weeds on both knees | mowed the lawn |
        pruned the apple tree | dug a new bed for the beans | watered the tomatoes | turned the compost |
        cut back the roses | sowed carrots in a straight line | chased the hens off the flower bed |
        put up a net against the birds | trimmed the hedge | picked gooseberries with gloves on |
        buried the bulbs under leaves | built a small fence round the pond | tied up the sweet peas |
        moved the fern to a shady corner | dug up the old stump | left the wheelbarrow by the gate |
        counted the buds on the peony | spread manure over the beds | gathered windfalls in a basket |
        bought seeds and a watering can""",
        asides="""between the rose beds | with earth under every nail | under the apple tree | next to the compost |
        after mowing the lawn | leaning on a spade | with a basket of plums on one arm | among the beans""",
        hard="""The trumpets of the lily have opened at last. | Salad does not get any fresher than from this bed. |
        A late frost took the blossom from the plum tree. | Mint spreads like gossip if you let it. |
        The pots were too small for their roots. | Onions in the front, leeks at the back, and a path between. |
        It needs sun, a little shelter, and no attention at all. | He plays with worms and calls it work. |
        The wind had sown poppies where none were wanted. | Not a drop had fallen, so we carried cans. |
        We picked the herbs before they could flower. | They say you should talk to them, but mine prefer manure. |
        The rake lies where he left it, teeth up. | What the snails left over is ours.""",
    ),
    "weather": Topic(
        scenes="""thunder rolled over the hills | it rained from morning to night | the fog would not lift |
        snow lay as high as the window | the sky cleared towards evening | a cold wind blew from the north |
        the heat kept everyone indoors | hail as big as marbles hit the roof | the first frost came early |
        lightning struck the church tower | dark clouds gathered in the west | the storm had blown itself out |
        there was not a breath of wind | the sun broke through at noon | a rainbow stood over the valley |
        the puddles froze solid | drizzle hung in the air | the river rose after days of rain | the air was damp |
        ice glittered on every twig | a gale tore tiles from the roof | the thermometer fell below zero |
        the forecast had promised sunshine | mist lay in the hollow | the snow turned to slush |
        it was too hot to sleep | the drought lasted all summer | a shower caught us on the bridge |
        the barometer has been falling | grey skies hung over the harbour""",
        acts="""got soaked on the way home | watched the lightning from the window | shovelled snow off the steps |
        lost an umbrella to the wind | checked the forecast | slipped on the ice | waited for the rain to stop |
        shivered in the icy wind | sweated through the hottest night | measured the rain in a jar |
        looked up at the clouds and shook a head | stayed in the shade | built a snowman | scraped frost off the car |
        could not see ten steps in the fog | ran for shelter from the hail | squinted into the low sun |
        counted the seconds between flash and thunder | wore a coat against the drizzle | felt a storm coming on |
        waded through the slush | caught snowflakes on a sleeve | complained about the heat |
        pointed at the rainbow""",
        asides="""in spite of the rain | with snow on both boots | while the storm raged outside |
        in the midday heat | under a grey sky | as soon as the fog lifted | with an umbrella under one arm |
        on a windy day""",
        hard="""It drummed on the tin roof all night long. |
        The whole valley was white, like a table laid for guests. |
        Leaves flew past the window although none of us had raked. | The sky was the colour of old pans. |
        Better take a coat, the swallows are flying low. | The wind played on the wires until dawn. |
        By four it had melted, and by six it was hard again. | It came down like peas from a sack. |
        Thick as soup it was, and we drove at walking speed. |
        The roses bent, the gate banged, and then it was still. |
        Minus twelve in the night and hardly better by day. | A low from the coast will reach us on Friday. |
        Nobody hung out the washing that week. | Summer fell on a Tuesday this year.""",
    ),
    "music": Topic(
        scenes="""the choir sang without the organ | the violin was out of tune | a drum beat in the distance |
        the band played one last waltz | the song has only three chords | her voice filled the church |
        the piano had two broken keys | the trumpet came in a bar too soon | the record had a deep scratch |
        the conductor raised the baton | an old tune came from the radio | the second verse is the sad one |
        the guitar lacked a string | the audience called for an encore | the flute answers the horn |
        the melody stayed in my head | the rhythm was too quick to dance to | the singer had lost her voice |
        the cello sounded warm and low | the concert was sold out | the notes were hard to read |
        the organ shook the windows | a lullaby was sung at the cradle | the orchestra tuned up |
        the chorus is easy to remember | the bass could be heard in the street | the march ended with cymbals |
        the bow slid over the strings | the headphones hummed | the duet began softly""",
        acts="""practised scales on the piano | sang in the church choir | tuned the old guitar | played the flute |
        learned the song by heart | wrote a tune for the school play | clapped along with the chorus |
        whistled a march | broke a string on the violin | danced to the brass band | bought a second-hand trumpet |
        put on a jazz record | missed the high note | hummed the melody under the breath | beat the drum |
        joined the orchestra | sat down at the organ | read the notes from the sheet | sang the lower part |
        blew into the horn with red cheeks | counted the bars aloud | listened to the same waltz |
        turned the pages for the pianist | took lessons on the cello""",
        asides="""with a song on the lips | while the radio played a waltz | to the sound of a trumpet |
        humming a tune | with headphones on | between two choir practices | after the concert |
        to the beat of a drum""",
        hard="""They played in the rain until the last string snapped. |
        The fourth movement goes by like a thunderstorm. | It starts low, climbs, and ends where it began. |
        He keeps time with his left foot. | Three of us hit the pots, and one had a real drum. |
        Her fingers ran over the keys like water. | The tenor had a cold, so the baker stepped in. |
        First the oboe gives an A, and then all the others follow. | She knows every word and not one note. |
        A slow air from the islands, sad as fog. | The old records stand where the cookbooks used to be. |
        It was written for four hands and two tempers. | Silence, then applause like a sudden shower. |
        The birds in the hedge could not have done it better.""",
    ),
}
